"""Compiling on first use: kept, safe in several processes, and a reason instead of an exception."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.kernels import native_build, wkv7_native
from camoe.kernels.wkv7 import choose_backend
from tests.kernels.wkv7_cases import needs_native

ROOT = Path(__file__).resolve().parents[2]
ANSWER = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, and outcomes that do not outlive the test."""
    monkeypatch.setenv("CAMOE_CACHE", str(tmp_path / "cache"))
    native_build.load.cache_clear()
    yield tmp_path / "cache"
    native_build.load.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "answer.cpp"
    path.write_text(ANSWER)
    return path


@needs_native
def test_it_compiles_once(source: Path, own_cache: Path) -> None:
    first, origin = native_build.build(source)
    assert "compiled in" in origin
    assert ctypes.CDLL(str(first)).answer() == 42
    again, origin = native_build.build(source)
    assert again == first
    assert str(own_cache) in origin
    assert list(own_cache.iterdir()) == [first]


@needs_native
def test_source_flags_and_cpu_each_have_a_library_of_their_own(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {native_build.build(source)[0]}
    source.write_text(ANSWER.replace("42", "43"))
    paths.add(native_build.build(source)[0])
    monkeypatch.setattr(native_build, "cpu_flags", lambda: "another CPU")
    paths.add(native_build.build(source)[0])
    monkeypatch.setattr(native_build, "FLAGS", ("-O1", "-shared", "-fPIC"))
    paths.add(native_build.build(source)[0])
    assert len(paths) == 4


@needs_native
def test_a_changed_header_makes_a_new_library(source: Path) -> None:
    header = source.with_name("number.h")
    source.write_text('#include "number.h"\n' + ANSWER.replace("42", "kNumber"))
    for number in (42, 43):
        header.write_text(f"constexpr int kNumber = {number};\n")
        assert ctypes.CDLL(str(native_build.build(source)[0])).answer() == number


@needs_native
def test_processes_may_build_at_once(source: Path, own_cache: Path) -> None:
    code = (
        "import ctypes, sys; from pathlib import Path; from camoe.kernels.native_build import load\n"
        "sys.exit(load(Path(sys.argv[1])).library.answer() - 42)"
    )
    command = [sys.executable, "-c", code, str(source)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, env=environment, cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(list(own_cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CXX", "/nonexistent/c++", "no C++ compiler: CXX=/nonexistent/c++ not found"),
        ("PATH", "", r"no C++ compiler: c++, g++, clang++ not found"),
    ],
)
def test_without_a_compiler_auto_is_chunked_and_native_is_refused(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv(variable, value)
    choice = choose_backend("auto", "cpu")
    assert choice.name == "chunked"
    assert reason in choice.reason
    with pytest.raises(ConfigError) as refusal:
        choose_backend("native", "cpu")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@needs_native
def test_a_source_that_does_not_compile_gives_the_compilers_first_complaint(
    source: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.write_text('extern "C" int answer() { return forty_two; }\n')
    monkeypatch.setattr(wkv7_native, "SOURCE", source)
    choice = choose_backend("auto", "cpu")
    assert choice.name == "chunked"
    assert "forty_two" in choice.reason
    assert "\n" not in choice.reason
    assert not list(own_cache.iterdir())


@needs_native
def test_a_missing_source_is_a_reason(tmp_path: Path) -> None:
    native = native_build.load(tmp_path / "none.cpp")
    assert native.library is None
    assert "none.cpp" in native.reason


@needs_native
def test_a_cache_that_cannot_be_written_is_a_reason(source: Path, own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    native = native_build.load(source)
    assert native.library is None
    assert str(own_cache) in native.reason


@needs_native
def test_auto_takes_native_on_the_cpu_and_only_there() -> None:
    assert choose_backend("auto", "cpu").name == "native"
    assert choose_backend("native", "cpu").name == "native"
    assert choose_backend("auto", "cuda").name == "chunked"
    with pytest.raises(ConfigError, match="native computes on the CPU, the device is cuda"):
        choose_backend("native", "cuda")


def test_the_cache_folder_follows_its_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert native_build.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("CAMOE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native_build.cache_folder() == tmp_path / "camoe"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert native_build.cache_folder() == Path.home() / ".cache" / "camoe"
