"""One process per run folder: a kernel lock that goes away with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

from camoe.config import ConfigError
from camoe.tracking.process_identity import ProcessIdentity

_held: dict[Path, IO[str]] = {}  # POSIX locks do not exclude within one process, and any close() would drop them


def hold(path: Path, what: str = "run") -> None:
    """Take the lock until `release` or the end of this process.

    ConfigError names who has it, and what is in use, or says why nothing can be written there.
    """
    path = path.resolve()
    try:
        file = None if path in _held else path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, what, error) from error
    if file is None or not _try_lock(file):
        raise ConfigError(f"{path.parent}: this {what} is in use by {_holder(path)}; wait for it or stop it first")
    try:
        file.truncate(0)
        os.write(file.fileno(), json.dumps(asdict(ProcessIdentity.current())).encode())
    except OSError as error:
        file.close()
        raise _unwritable(path, what, error) from error
    _held[path] = file


def release(path: Path) -> None:
    """Give the lock back; nothing happens when this process does not hold it."""
    file = _held.pop(path.resolve(), None)
    if file is not None:
        file.close()


def is_held(path: Path) -> bool:
    """Whether any process, this one included, holds the lock."""
    path = path.resolve()
    if path in _held:
        return True
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as file:  # for reading: it may lie in an archive
        return not _try_lock(file, fcntl.LOCK_SH)


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Wait for the lock on a file beside something that processes must not touch together."""
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unwritable(path: Path, what: str, error: OSError) -> ConfigError:
    return ConfigError(f"{path.parent}: this {what} cannot be written to ({error.strerror})")


def _holder(path: Path) -> str:
    if path in _held:
        return "this process"
    try:
        return str(ProcessIdentity(**json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, TypeError):  # taken this instant, not signed yet
        return "another process"
