"""The file itself: what is written is read, and nothing else is."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.inference.export.container import MAGIC, Section, build_container, read_container

INDEX = {"step": 3, "config": {"name": "größe"}}
LONG, SHORT = Section("bytes", b"\0" * 5000), Section("packed", bytes(range(256)) * 9)
SECTIONS = {"experts": [SHORT, LONG], "vectors": [Section("packed", b"")], "state": [LONG]}
WHOLE = build_container(INDEX, SECTIONS, 22).content


def _read(folder: Path, content: bytes) -> tuple[dict, dict]:
    path = folder / "file.camoe"
    path.write_bytes(content)
    return read_container(path)


@pytest.mark.parametrize("level", [1, 22])
def test_what_is_written_is_read(tmp_path: Path, level: int) -> None:
    built = build_container(INDEX, SECTIONS, level)
    kept = {"experts": LONG, "vectors": Section("packed", b""), "state": LONG}  # of two layouts, what compresses best
    assert _read(tmp_path, built.content) == (INDEX, kept)
    assert sum(built.sections.values()) + built.rest == len(built.content)
    assert built.sections["state"] < 50


@pytest.mark.parametrize("length", [*range(0, 60, 7), 40, 47, 48, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ConfigError) as refusal:
        _read(tmp_path, WHOLE[:length])
    assert "\n" not in str(refusal.value)


def test_a_damaged_byte_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    for place in range(0, len(WHOLE), 5):
        damaged = bytearray(WHOLE)
        damaged[place] ^= 16
        with pytest.raises(ConfigError):
            _read(tmp_path, bytes(damaged))
    with pytest.raises(ConfigError, match="its checksum does not fit"):
        _read(tmp_path, WHOLE + b"more")


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"{}", _zip()], ids=["empty", "pickle", "json", "torch"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="not a file of job=export"):
        _read(tmp_path, content)


def test_other_versions_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="version 7 of the layout"):
        _read(tmp_path, MAGIC + struct.pack("<H", 7) + WHOLE[8:])
    with pytest.raises(ConfigError, match="No such file"):
        read_container(tmp_path / "none.camoe")
