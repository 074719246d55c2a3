"""Ways to run that narrow down where a number goes wrong: each takes one suspect away, or watches every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WATCH = "nan"
SETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "none": {},
    "no_amp": {"train": {"precision": "fp32"}},
    "no_fast_math": {"kernel": {"fast_math": False, "matmul_precision": "highest"}},
    "fp32_kernel": {"kernel": {"wkv": "reference", "dispatch": "segments", "compile": "none"}},
    WATCH: {},
}
"""The settings that each fixes, by group."""


def in_words(diagnostics: str) -> str:
    """What it changes."""
    if diagnostics == WATCH:
        return "every tensor is looked at, which is slow; the first that is not finite ends the run"
    fixed = [f"{group}.{name}={value}" for group, values in SETS[diagnostics].items() for name, value in values.items()]
    return f"sets {', '.join(fixed)}".lower()
