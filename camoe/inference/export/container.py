"""The file of an exported model: an index and sections, each compressed with zstd, under one checksum.

All integers are little-endian.

    bytes 0-7     the ASCII letters CAMOE, then byte 0, then the version of the layout as uint16
    bytes 8-39    sha256 of everything behind byte 39
    bytes 40-47   uint32 compressed and uint32 plain size of the index
    then          the index: JSON; its "sections" lists name, layout, compressed and plain size of every section
    then          the sections, one behind the other

Nothing in it is executed when it is read.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from camoe.config import ConfigError

MAGIC, VERSION = b"CAMOE\0", 1
DIGEST_END = 40
SIZES = struct.Struct("<II")


class Container(NamedTuple):
    """A file in memory: its bytes, how many of them each section takes, and how many all else."""

    content: bytes
    sections: dict[str, int]
    rest: int


class Section(NamedTuple):
    """What one section holds, and in which layout."""

    layout: str
    content: bytes


def build_container(index: Mapping[str, Any], sections: Mapping[str, Sequence[Section]], level: int) -> Container:
    """The file of these sections, of each the layout that compresses best.

    `index` is any JSON object without a "sections" of its own.
    """
    codec = pa.Codec("zstd", compression_level=level)
    listed: list[tuple[str, str, int, int]] = []
    packed: list[bytes] = []
    for name, layouts in sections.items():
        tried = [codec.compress(section.content, asbytes=True) for section in layouts]
        best = min(range(len(tried)), key=lambda number: len(tried[number]))
        packed.append(tried[best])
        listed.append((name, layouts[best].layout, len(tried[best]), len(layouts[best].content)))
    plain = json.dumps({**index, "sections": listed}, separators=(",", ":")).encode()
    opening = codec.compress(plain, asbytes=True)
    body = SIZES.pack(len(opening), len(plain)) + opening + b"".join(packed)
    content = MAGIC + struct.pack("<H", VERSION) + hashlib.sha256(body).digest() + body
    return Container(content, {name: size for name, _, size, _ in listed}, len(content) - sum(map(len, packed)))


def read_container(path: Path) -> tuple[dict[str, Any], dict[str, Section]]:
    """Index and sections; ConfigError for a file that is missing, foreign, of another version or not whole."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    if not content.startswith(MAGIC):
        raise ConfigError(f"{path}: not a file of job=export")
    if content[6:8] != struct.pack("<H", VERSION):
        raise ConfigError(
            f"{path}: version {int.from_bytes(content[6:8], 'little')} of the layout, this reads {VERSION}"
        )
    body = memoryview(content)[DIGEST_END:]
    if hashlib.sha256(body).digest() != content[8:DIGEST_END]:
        raise ConfigError(f"{path}: cut short or damaged, its checksum does not fit")
    packed_size, plain_size = SIZES.unpack(body[: SIZES.size])
    place = SIZES.size + packed_size
    index = json.loads(_plain(body[SIZES.size : place], plain_size))
    sections = {}
    for name, layout, packed_size, plain_size in index.pop("sections"):
        sections[name] = Section(layout, _plain(body[place : place + packed_size], plain_size))
        place += packed_size
    return index, sections


def _plain(packed: memoryview, size: int) -> bytes:
    return pa.decompress(packed, decompressed_size=size, codec="zstd", asbytes=True)
