"""Documents from a plain text file, which marks no boundaries.

The file is read in blocks of about 4 KiB that end at line ends. Consecutive blocks of the same part are one
document, up to about 1 MiB: a file that is not split and is smaller than that is one document. Splitting a single file
by the hash of its blocks cuts paragraphs, so that held-out text continues training text; a folder with a train and a
valid file avoids this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from camoe.config import ConfigError
from camoe.data.reading import open_bytes

TEXT_SUFFIXES = (".txt", ".txt.gz")
BLOCK_BYTES = 4096
DOCUMENT_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def text_documents(path: Path, wants: Callable[[bytes], bool]) -> Iterator[str]:
    """Documents made of the blocks that `wants` accepts. A byte that is not UTF-8 raises ConfigError with its line."""
    with open_bytes(path) as file:
        blocks = iter(lambda: file.readlines(BLOCK_BYTES), [])
        first_line = 1
        for wanted, run in groupby(blocks, key=lambda lines: wants(b"".join(lines))):
            lines: list[bytes] = []
            size = 0
            for block in run:
                lines += block
                size += sum(map(len, block))
                if size >= DOCUMENT_BYTES:
                    yield from _decode(path, lines, first_line, wanted)
                    first_line, lines, size = first_line + len(lines), [], 0
            yield from _decode(path, lines, first_line, wanted)
            first_line += len(lines)


def _decode(path: Path, lines: list[bytes], first_line: int, wanted: bool) -> Iterator[str]:
    if not lines:
        return
    content = b"".join(lines)
    if first_line == 1:
        content = content.removeprefix(BYTE_ORDER_MARK)
    try:
        text = content.decode()  # also what is not wanted: a file that is no text is refused as such
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise ConfigError(
            f"data.path: {path} line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); convert the file"
        ) from None
    if wanted:
        yield text
