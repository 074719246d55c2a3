"""A file system of its own, which can be full or for reading only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs at `path`."""

    path: Path

    @property
    def ballast(self) -> Path:
        """What takes the room."""
        return self.path / "ballast"

    def fill(self) -> None:
        """Take every byte that is free."""
        with self.ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Room again."""
        self.ballast.unlink()

    def mount(self, options: str) -> bool:
        """Mount it, or mount it again with other options; whether that is permitted."""
        if shutil.which("mount") is None:
            return False
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def mounted(path: Path, size: str) -> Iterator[SmallDisk | None]:
    """`path` is made; None where mounting is not permitted."""
    path.mkdir()
    disk = SmallDisk(path)
    if not disk.mount(f"size={size}"):
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
