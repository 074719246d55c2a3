"""Paths that a file names lead nowhere but into the folder that the file came with."""

from __future__ import annotations

from pathlib import PurePath


def stays_below(name: str) -> bool:
    """Whether a path cannot leave the folder that it is relative to, unless by a link that somebody put there."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts
