"""Which accelerators this machine has, found without importing torch."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

VARIABLE = "CUDA_VISIBLE_DEVICES"
QUERY = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")


def visible_devices(environment: Mapping[str, str]) -> list[str]:
    """What CUDA_VISIBLE_DEVICES lists, else every GPU that the driver knows, as CUDA_VISIBLE_DEVICES takes them."""
    if VARIABLE in environment:
        return [name.strip() for name in environment[VARIABLE].split(",") if name.strip() not in ("", "-1")]
    try:
        found = subprocess.run(QUERY, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):  # no driver
        return []
    return found.stdout.split()
