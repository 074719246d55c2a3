"""Resident memory of this process: now, and the most it ever was."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil

STATUS = Path("/proc/self/status")


def resident_now() -> int:
    """Bytes."""
    return int(psutil.Process().memory_info().rss)


def resident_peak() -> int:
    """Bytes. Not from getrusage where the system tells it itself: that counts the parent that started this process."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
