"""Compiling a CUDA source for one kind of GPU on first use, and keeping the library for the next time."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
from pathlib import Path

from camoe.kernels.native_build import BuildError, NativeLibrary, cache_folder, compile_once, kept_name

FLAGS = ("-O3", "-std=c++17", "-shared", "-Xcompiler", "-fPIC")
COMPILER_VARIABLE = "CUDACXX"
TOOLKIT_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
DEFAULT_TOOLKIT = Path("/usr/local/cuda")


@functools.cache
def load(source: Path, capability: tuple[int, int], fast_math: bool) -> NativeLibrary:
    """The shared library made from one CUDA source for a compute capability, compiled if the cache has none.

    Never raises: what went wrong is the reason. The outcome holds for the process.
    """
    try:
        path, origin = build(source, capability, fast_math)
        return NativeLibrary(ctypes.CDLL(str(path)), origin)
    except (BuildError, OSError) as error:
        return NativeLibrary(None, " ".join(str(error).split()))


def build(source: Path, capability: tuple[int, int], fast_math: bool) -> tuple[Path, str]:
    """Path of the library and where it comes from. Raises BuildError or OSError.

    Without nvcc a library that another machine left in the same cache is as good.
    """
    arch = architecture(capability)
    flags = compiler_flags(arch, fast_math)
    try:
        compiler = find_nvcc()
    except BuildError as error:
        kept = sorted(cache_folder().glob(f"{kept_name(source, flags, arch)}-*.so"))
        if not kept:
            raise BuildError(f"{error}, and {cache_folder()} has no library for {arch}") from error
        return kept[0], f"{arch}, from {cache_folder()}"
    path, origin = compile_once(source, [compiler], flags, arch)
    return path, f"{arch}, {origin}"


def compiler_flags(arch: str, fast_math: bool) -> tuple[str, ...]:
    """--use_fast_math flushes denormal numbers to zero; the kernels have no division or transcendental to change."""
    return (*FLAGS, f"-arch={arch}", *(["--use_fast_math"] if fast_math else []))


def architecture(capability: tuple[int, int]) -> str:
    """nvcc's name for a compute capability: sm_80, sm_90a."""
    major, minor = capability
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"


def find_nvcc() -> str:
    """The CUDA compiler: the variable CUDACXX if it is set, else nvcc on the path or in the toolkit's usual folders."""
    wanted = os.environ.get(COMPILER_VARIABLE)
    toolkits = [Path(os.environ[name]) for name in TOOLKIT_VARIABLES if os.environ.get(name)] + [DEFAULT_TOOLKIT]
    for candidate in [wanted] if wanted else ["nvcc", *(str(folder / "bin" / "nvcc") for folder in toolkits)]:
        if found := shutil.which(candidate):
            return found
    raise BuildError(f"no CUDA compiler: {f'{COMPILER_VARIABLE}={wanted}' if wanted else 'nvcc'} not found")
