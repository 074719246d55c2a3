"""The folder that prepared text is kept in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from camoe.config import ConfigError


def make_writable(cache: Path) -> None:
    """Make the cache's folder; ConfigError where that cannot be, or where nothing can be written into it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"data.cache_dir: {cache} cannot be made ({error.strerror})") from None
    if not os.access(cache, os.W_OK):
        raise ConfigError(f"data.cache_dir: {cache} cannot be written; choose another folder")


@contextmanager
def being_made(entry: Path, unfinished: Path) -> Iterator[None]:
    """The lock on an entry of the cache while it is made, in a cache that can be written.

    unfinished: the folder of its parts. Text that is refused leaves none of them, and no cache where there was none.
    """
    lock = Path(f"{entry}.lock")
    new = [place for place in (entry.parent, *entry.parent.parents) if not place.exists()]
    make_writable(entry.parent)
    try:
        with FileLock(lock):
            try:
                yield
            except ConfigError:
                shutil.rmtree(unfinished, ignore_errors=True)
                lock.unlink(missing_ok=True)  # while it is held: whoever waits sees that it is gone, and makes another
                raise
    except ConfigError:
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise
