"""A copy of the checkout for jobs that start later: editing the checkout does not change what is queued."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from camoe.config import ConfigError
from camoe.tracking.atomic_file import write_json
from camoe.tracking.checkout import CODE, RECORD, code_state, git

DIGITS = 12
LARGEST = 200 * 2**20  # bytes; a checkout without data is far below


def take_snapshot(folder: Path, root: Path = CODE) -> Path:
    """A copy of the code at `root` below `folder`, named by its content; one that is there already is used again.

    Copies what git tracks and what is new and not ignored, as it is on disk now. The copy says which checkout, commit
    and uncommitted changes it holds. ConfigError where there is no checkout, or data lies in it.
    """
    files = files_of(root)
    state = code_state(root)
    target = folder / content_hash(root, files, json.dumps(state, sort_keys=True))
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder, prefix=".unfinished-"))
    for name in files:
        (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, unfinished / name, follow_symlinks=False)
    write_json(unfinished / RECORD, state)
    unfinished.chmod(0o755)
    try:
        unfinished.rename(target)
    except OSError:  # another command has just made the same one
        shutil.rmtree(unfinished)
    return target


def files_of(root: Path) -> list[str]:
    """Names, relative to `root`, of what git tracks and of what is new and not ignored."""
    listing = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if not listing:
        raise ConfigError(f"hydra/launcher=slurm copies the code for its jobs, but git knows no checkout in {root}")
    names = sorted({name for name in listing.split("\0") if name and _is_copied(root / name)})
    sizes = {name: (root / name).lstat().st_size for name in names}
    if sum(sizes.values()) > LARGEST:
        largest = max(names, key=lambda name: sizes[name])
        raise ConfigError(
            f"hydra/launcher=slurm copies the code for its jobs, but the checkout has {sum(sizes.values()) / 2**20:.0f}"
            f" MiB (at most {LARGEST / 2**20:.0f}); let git ignore what is no code, first {largest}"
        )
    return names


def content_hash(root: Path, files: Sequence[str], state: str) -> str:
    """Of names, contents, and which files are programs; and of what is recorded beside them."""
    digest = hashlib.sha256(state.encode())
    for name in files:
        path = root / name
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        program = bool(path.lstat().st_mode & stat.S_IXUSR)
        digest.update(f"\0{name}\0{program}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:DIGITS]


def _is_copied(path: Path) -> bool:
    """Not a file that was deleted since, nor the folder of a submodule."""
    return path.is_symlink() or path.is_file()
