"""The CUDA source is compiled on first use, one library for each kind of GPU and each set of flags; no GPU needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from camoe.config import ConfigError
from camoe.kernels import cuda_build, wkv7_cuda
from camoe.kernels.wkv7 import choose_backend
from tests.kernels.wkv7_cases import needs_native

HOPPER = (9, 0)
# Compiles C++ as nvcc would CUDA, as far as building is concerned.
COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo 'nvcc: a driver'; echo 'tools, release 99.1, V99.1.0'; exit; fi
while [ "$1" != -o ]; do source=$1; shift; done
exec c++ -shared -fPIC -x c++ "$source" -o "$2"
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, outcomes that do not outlive the test, and no compiler but the one given."""
    monkeypatch.setenv("CAMOE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDACXX", str(tmp_path / "nvcc"))
    cuda_build.load.cache_clear()
    yield tmp_path / "cache"
    cuda_build.load.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "answer.cu"
    path.write_text('extern "C" int answer() { return 42; }\n')
    return path


@pytest.fixture
def compiler(tmp_path: Path) -> Path:
    path = tmp_path / "nvcc"
    path.write_text(COMPILER)
    path.chmod(0o755)
    return path


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has such a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: HOPPER)


@needs_native
@pytest.mark.usefixtures("compiler")
def test_it_compiles_once_for_each_gpu_and_set_of_flags(source: Path) -> None:
    paths = {cuda_build.build(source, HOPPER, False)[0]}
    path, origin = cuda_build.build(source, HOPPER, False)
    assert path in paths
    assert origin.startswith("sm_90a, tools, release 99.1")
    paths |= {cuda_build.build(source, HOPPER, True)[0], cuda_build.build(source, (8, 0), False)[0]}
    assert len(paths) == 3
    loaded = cuda_build.load(source, HOPPER, False).library
    assert loaded is not None
    assert loaded.answer() == 42


@needs_native
def test_a_library_that_is_there_needs_no_compiler(source: Path, compiler: Path) -> None:
    path, _ = cuda_build.build(source, HOPPER, False)
    compiler.unlink()
    assert cuda_build.build(source, HOPPER, False)[0] == path
    with pytest.raises(cuda_build.BuildError, match=r"nvcc not found, and .* has no library for sm_80"):
        cuda_build.build(source, (8, 0), False)


@pytest.mark.parametrize(("capability", "name"), [((8, 0), "sm_80"), ((8, 9), "sm_89"), (HOPPER, "sm_90a")])
def test_architectures(capability: tuple[int, int], name: str) -> None:
    assert cuda_build.architecture(capability) == name


def test_fast_math_is_a_flag() -> None:
    assert "--use_fast_math" in cuda_build.compiler_flags("sm_90a", True)
    assert "--use_fast_math" not in cuda_build.compiler_flags("sm_90a", False)


@pytest.mark.usefixtures("hopper")
def test_without_nvcc_auto_is_chunked_and_cuda_is_refused() -> None:
    choice = choose_backend("auto", "cuda")
    assert choice.name == "chunked"
    assert "no CUDA compiler: CUDACXX=" in choice.reason
    assert "\n" not in choice.reason
    with pytest.raises(ConfigError, match="cuda is not available here: no CUDA compiler"):
        choose_backend("cuda", "cuda")


@needs_native
@pytest.mark.usefixtures("hopper", "compiler")
@pytest.mark.parametrize("requested", ["auto", "cuda"])
def test_with_nvcc_a_gpu_gets_its_kernels(requested: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wkv7_cuda, "SOURCE", source)
    choice = choose_backend(requested, "cuda", fast_math=True)
    assert choice.name == "cuda"
    assert "sm_90a" in choice.reason


@pytest.mark.usefixtures("hopper")
def test_an_old_gpu_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (7, 5))
    choice = choose_backend("auto", "cuda")
    assert choice.name == "chunked"
    assert "compute capability is 7.5, at least 8.0 is needed" in choice.reason


def test_cuda_is_refused_on_the_cpu() -> None:
    with pytest.raises(ConfigError, match="cuda computes on a CUDA device, the device is cpu; use chunked"):
        choose_backend("cuda", "cpu")
