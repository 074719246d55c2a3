"""nvcc compiles every kernel for the GPUs that matter, and none keeps registers in memory. Needs no GPU."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from camoe.kernels import wkv7_cuda
from camoe.kernels.cuda_build import compiler_flags, find_nvcc
from camoe.kernels.native_build import BuildError

KERNELS = [
    f"{direction} {dtype} {size}"
    for direction in ("backward", "forward")
    for dtype in ("bf16", "float")
    for size in wkv7_cuda.HEAD_SIZES
] + ["sum bf16", "sum float"]
ENTRY = re.compile(r"Compiling entry function '\w*wkv7_(forward|backward|sum)_kernelI(f|13__nv_bfloat16)(?:Li(\d+))?")
FIGURES = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


def has_nvcc() -> bool:
    try:
        return bool(find_nvcc())
    except BuildError:
        return False


def resource_report(arch: str, fast_math: bool, folder: Path) -> dict[str, tuple[int, int]]:
    """Kernel -> registers per thread, bytes of stack and spills."""
    command = [find_nvcc(), *compiler_flags(arch, fast_math), "-Xptxas", "-v", "-o", str(folder / "kernels.so")]
    done = subprocess.run([*command, str(wkv7_cuda.SOURCE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    report = {}
    for text in re.split(r"(?=Compiling entry function)", done.stderr)[1:]:
        found = ENTRY.search(text)
        assert found, text
        direction, dtype, size = found.groups()
        name = " ".join(filter(None, (direction, "float" if dtype == "f" else "bf16", size)))
        registers, in_memory = REGISTERS.search(text), FIGURES.search(text)
        assert registers, text
        assert in_memory, text
        report[name] = (int(registers[1]), sum(int(x) for x in in_memory.groups()))
    return report


@pytest.mark.slow
@pytest.mark.skipif(not has_nvcc(), reason="no nvcc")
@pytest.mark.parametrize(("arch", "fast_math"), [("sm_80", True), ("sm_90a", False)])
def test_every_kernel_stays_in_registers(arch: str, fast_math: bool, tmp_path: Path) -> None:
    report = resource_report(arch, fast_math, tmp_path)
    print(f"\n{arch}{' --use_fast_math' if fast_math else ''}")
    for name in sorted(report):
        print("{:20} {:4} registers {:4} bytes of stack and spills".format(name, *report[name]))
    assert sorted(report) == sorted(KERNELS)
    assert {name: in_memory for name, (_, in_memory) in report.items() if in_memory} == {}
