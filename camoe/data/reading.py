"""Opening local files, with broken ones refused in one line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from camoe.config import ConfigError


@contextmanager
def open_bytes(path: Path, setting: str = "data.path") -> Iterator[BinaryIO]:
    """The file's bytes, unpacked when its name ends in .gz; one that cannot be read or unpacked raises ConfigError."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{setting}: {path} cannot be read ({error})") from None
