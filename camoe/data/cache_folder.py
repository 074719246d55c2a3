"""The folder that prepared text is kept in."""

from __future__ import annotations

import os
from pathlib import Path

from camoe.config import ConfigError


def make_writable(cache: Path) -> None:
    """Make the cache's folder; ConfigError where that cannot be, or where nothing can be written into it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"data.cache_dir: {cache} cannot be made ({error.strerror})") from None
    if not os.access(cache, os.W_OK):
        raise ConfigError(f"data.cache_dir: {cache} cannot be written; choose another folder")
