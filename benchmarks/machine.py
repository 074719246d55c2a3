"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from camoe.kernels.wkv7_native import native_library
from camoe.tracking.checkout import CODE, git_state


def describe() -> dict[str, str]:
    """Machine, software and moment, by name."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{_cpu_name()}, {os.cpu_count()} cores, {_vector_width()}",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "threads": str(torch.get_num_threads()),
        "software": f"Python {platform.python_version()}, torch {torch.__version__}",
        "compiler": native_library().reason.partition(", ")[0],
        "load before": f"{os.getloadavg()[0]:.1f}",
        "commit": _commit(),
    }


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _vector_width() -> str:
    flags = _cpuinfo("flags").split()
    return "AVX-512" if "avx512f" in flags else ("AVX2" if "avx2" in flags else platform.machine())


def _cpuinfo(entry: str) -> str:
    """First value of an entry of /proc/cpuinfo, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(entry)), "")


def _commit() -> str:
    state = git_state(CODE)
    commit = str(state.get("git_commit") or "unknown")[:10]
    return f"{commit}, with uncommitted changes" if state.get("git_dirty") else commit
