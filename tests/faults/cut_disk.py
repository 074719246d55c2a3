"""A disk whose power can be cut: ext4 in a file. What nobody has flushed to it when that happens is lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SHUTDOWN = 0x8004587D
"""_IOR('X', 125, __u32), as Linux has it for ext4 (fs/ext4/ext4.h, EXT4_IOC_SHUTDOWN) and XFS."""
WITHOUT_THE_JOURNAL = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: what is on the disk at that moment is all that will be."""


@dataclass(frozen=True)
class CutDisk:
    """The file system in `image`, mounted at `path`."""

    image: Path
    path: Path

    def mount(self) -> bool:
        """Mount it, which replays its journal; whether that is permitted."""
        return _done("mount", "-o", "loop", str(self.image), str(self.path))

    def cut(self) -> None:
        """No byte reaches the disk any more, and every access fails."""
        folder = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_THE_JOURNAL))
        os.close(folder)

    def start_again(self) -> None:
        """After a cut, with nobody left who has a file of it open: what was on the disk."""
        subprocess.run(["umount", str(self.path)], check=True)
        assert self.mount()


@contextmanager
def cut_disk_in(folder: Path, size: str) -> Iterator[CutDisk | None]:
    """Made in `folder`; None where there is no ext4, or mounting is not permitted."""
    disk = CutDisk(folder / "disk.img", folder / "disk")
    disk.path.mkdir()
    made = shutil.which("mkfs.ext4") and _done("truncate", "-s", size, str(disk.image))
    if not made or not _done("mkfs.ext4", "-q", str(disk.image)) or not disk.mount():
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk.path)], check=True)
        disk.image.unlink()


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
