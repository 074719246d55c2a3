"""cuda/wkv7_cuda.cu on the CPU: compiled by a C++ compiler against the emulation of CUDA in cuda_emulation/."""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import Tensor

from camoe.kernels import wkv7_cuda
from camoe.kernels.native_build import BuildError, compile_once, cpu_flags, find_compiler

EMULATION = Path(__file__).parent / "cuda_emulation"
FLAGS = (
    *("-O1", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fno-strict-aliasing", "-Wno-unknown-pragmas"),
    "-U_FORTIFY_SOURCE",  # takes a jump from one fiber to another for an error
    *(f"-I{EMULATION}", "-x", "c++", str(EMULATION / "emulation.cpp")),
)


@functools.cache
def emulated_library(source: Path = wkv7_cuda.SOURCE) -> ctypes.CDLL:
    """The kernels as a library for this machine. Raises BuildError without a C++ compiler."""
    emulation = "".join(path.read_text() for path in sorted(EMULATION.iterdir()))
    return ctypes.CDLL(str(compile_once(source, find_compiler(), FLAGS, cpu_flags() + emulation)[0]))


def can_emulate() -> bool:
    """A C++ compiler, and a system on which fibers may jump."""
    try:
        return platform.system() == "Linux" and bool(find_compiler())
    except BuildError:
        return False


needs_emulation = pytest.mark.skipif(not can_emulate(), reason="emulating CUDA needs Linux and a C++ compiler")


def emulate(monkeypatch: pytest.MonkeyPatch, library: ctypes.CDLL) -> None:
    """Lets the cuda backend compute tensors on the CPU with `library`."""

    @contextmanager
    def on_device(_: Tensor) -> Iterator[int]:
        yield 0

    functions = wkv7_cuda._Functions(library)
    monkeypatch.setattr(wkv7_cuda, "_functions", lambda *_: functions)
    monkeypatch.setattr(wkv7_cuda, "_on_device", on_device)
