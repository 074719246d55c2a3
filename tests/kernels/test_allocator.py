"""Freed memory is kept by the process, or not; each in a process of its own, since the switch stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys, torch
from camoe.kernels.allocator import choose_allocator
torch.set_num_threads(1)
choice = choose_allocator(sys.argv[1])
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(2**24)
before = faults()
for _ in range(8):
    torch.ones(2**24)
print(choice.name, faults() - before)
"""
PAGES = 2**24 * 4 // 4096  # of one array


def _faults(requested: str) -> tuple[str, int]:
    result = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, requested], capture_output=True, text=True, timeout=120, check=True
    )
    name, faults = result.stdout.split()
    return name, int(faults)


def test_kept_memory_is_not_asked_of_the_system_again() -> None:
    name, faults = _faults("reuse")
    if name == "system":
        pytest.skip("this C library has no mallopt")
    assert faults < 2 * PAGES  # the other choice pays for eight arrays


def test_the_systems_way_is_left_alone() -> None:
    assert _faults("system")[0] == "system"
