"""Compiling a native source on first use, and keeping the library for the next time."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FLAGS = (
    "-O3",
    "-march=native",
    "-std=c++17",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
    "-pthread",
)
COMPILERS = ("c++", "g++", "clang++")
CACHE_VARIABLE = "CAMOE_CACHE"
TIMEOUT = 300.0  # seconds; a C++ compiler needs a few, nvcc twenty


class BuildError(Exception):
    """Why there is no library, in one line."""


@dataclass(frozen=True)
class NativeLibrary:
    """The loaded library, or None; and in words for the log where it comes from, or why there is none."""

    library: ctypes.CDLL | None
    reason: str


@functools.cache
def load(source: Path) -> NativeLibrary:
    """The shared library made from one C++ file, compiled if the cache has none for this compiler and CPU.

    Never raises: what went wrong is the reason. The outcome holds for the process.
    """
    try:
        path, origin = build(source)
        return NativeLibrary(ctypes.CDLL(str(path)), origin)
    except (BuildError, OSError) as error:
        return NativeLibrary(None, " ".join(str(error).split()))


@functools.cache
def native_function(source: Path, name: str) -> Callable[[bytes], None] | None:
    """A function of the compiled file whose one argument points to a packed struct; None where there is no library."""
    library = load(source).library
    if library is None:
        return None
    function = library[name]
    function.argtypes, function.restype = [ctypes.c_char_p], None
    return function


def build(source: Path) -> tuple[Path, str]:
    """Path of the library and where it comes from. Raises BuildError or OSError."""
    return compile_once(source, find_compiler(), FLAGS, cpu_flags())


def compile_once(source: Path, compiler: Sequence[str], flags: Sequence[str], target_machine: str) -> tuple[Path, str]:
    """Path of the library made from one source, and where it comes from: compiled if the cache has none.

    Several processes may build at once: each compiles under a name of its own and renames, which is atomic.
    """
    version = version_of(compiler)
    target = cache_folder() / f"{kept_name(source, flags, target_machine)}-{_digest(version)}.so"
    if target.exists():
        return target, f"{version}, from {target.parent}"
    target.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
        unfinished = Path(folder) / target.name
        _run([*compiler, *flags, str(source), "-o", str(unfinished)])
        os.replace(unfinished, target)
    return target, f"{version}, compiled in {time.perf_counter() - start:.1f} s"


def kept_name(source: Path, flags: Sequence[str], target_machine: str) -> str:
    """How the names of all libraries begin that any compiler made of this source, these flags and this machine.

    The source's folder may hold headers; a change in any of them makes new libraries.
    """
    texts = [path.read_text() for path in (source, *sorted(source.parent.glob("*.h")))]
    return f"{source.stem}-{_digest(*texts, *flags, platform.machine(), target_machine)}"


def version_of(compiler: Sequence[str]) -> str:
    """The line in which a compiler tells its version: nvcc's names a release, others' is the first."""
    lines = _run([*compiler, "--version"]).splitlines()
    return next((line for line in lines if ", release " in line), lines[0])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def find_compiler() -> list[str]:
    """The command of the C++ compiler: the variable CXX if it is set, else the first of COMPILERS on the path."""
    wanted = os.environ.get("CXX", "")
    for command in [shlex.split(wanted)] if wanted else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    raise BuildError(f"no C++ compiler: {f'CXX={wanted}' if wanted else ', '.join(COMPILERS)} not found")


def cache_folder() -> Path:
    """Where libraries are kept: $CAMOE_CACHE, else camoe under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "camoe"


def cpu_flags() -> str:
    """What the CPU can do. Machines that share a home folder may differ in it, and code for one may crash another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _run(command: list[str]) -> str:
    """The command's output; BuildError with the compiler's first complaint if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]} did not run: {error}") from error
    if done.returncode or (not done.stdout and "--version" in command):
        lines = done.stderr.splitlines()
        complaint = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
        raise BuildError(f"{command[0]} failed: {complaint}")
    return done.stdout
