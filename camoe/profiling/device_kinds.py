"""What a device can do: figures of known accelerators, each with its source, and those measured on this machine.

A figure has a peak, which its maker states, and what was achieved by a program that does nothing else. Plans reckon
with what was achieved.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from camoe.config import ConfigError

ROW = "device_rates"
"""Row of `python -m benchmarks` that measures what `DeviceKind.figures` names."""


@dataclass(frozen=True)
class Figure:
    """peak: as stated, None where nobody states one. achieved: as measured, or as the source says."""

    peak: float | None
    achieved: float
    source: str


@dataclass(frozen=True, kw_only=True)
class DeviceKind:
    """memory: bytes. fp32, bf16: FLOP/s of matrix products. passes: bytes/s of operations that go through memory.

    fp32_highest: FLOP/s of fp32 products where matmul precision `highest` computes them in another library, on CPUs.
    recurrence: multiply-adds/s of WKV-7, forward and backward. operation: operations/s that the host starts; where the
    device runs `ahead` false, they add to its own time. node, network: bytes/s that one device sends while all of a
    node, or of several nodes, take part; None where one device is all there is.
    """

    name: str
    memory: int
    ahead: bool
    fp32: Figure
    fp32_highest: Figure | None = None
    bf16: Figure
    passes: Figure
    recurrence: Figure
    operation: Figure
    node: Figure | None = None
    network: Figure | None = None

    def figures(self) -> dict[str, Figure]:
        """By name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Figure)}


def measured_kind(file: Path) -> DeviceKind:
    """This machine's CPU, from the JSON of `python -m benchmarks device_rates`; ConfigError without it."""
    machine, figures = _measured(file)
    if machine["GPU"] != "none":
        raise ConfigError(f"job.plan.measured: {file} has the figures of {machine['GPU']}, not of a CPU")
    source = f"measured {machine['date']}, {machine['threads']} threads, {machine['CPU']}"
    found = {name: Figure(None, figures[name], source) for name in _RATES}
    found["fp32"] = replace(found["fp32"], peak=figures.get("fp32 peak"))
    return DeviceKind(name="cpu", memory=round(figures["memory"]), ahead=False, **found)


def _measured(file: Path) -> tuple[Mapping[str, str], dict[str, float]]:
    """Machine, and medians by name."""
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        (row,) = (row for row in content["rows"] if row["row"] == ROW and row["figures"])
        figures = {name: statistics.median(sample["values"]) for name, sample in row["figures"].items()}
        if missing := {*_RATES, "memory"} - figures.keys():
            raise ValueError(f"no figure {min(missing)}")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ConfigError(
            f"job.plan.measured: {file} does not hold this machine's figures ({problem}); "
            f"make them with python -m benchmarks {ROW}"
        ) from problem
    return content["machine"], figures


_RATES = ("fp32", "fp32_highest", "bf16", "passes", "recurrence", "operation")
_SHEET = "data sheet (SXM), dense"
_HOST = Figure(None, 1.5e5, "assumed: eager PyTorch, about 7 us per operation")
_TARGET = "target of the wkv7_cuda benchmark: B8 T4096 H16 N64 in 2 ms on H200"
_WKV = 8 * 4096 * 16 * 64**2 * 18 / 2e-3

KINDS = {
    "h200": DeviceKind(
        name="h200",
        memory=141_000_000_000,
        ahead=True,
        fp32=Figure(67e12, 0.8 * 67e12, f"{_SHEET}; achieved assumed as bf16's share"),
        bf16=Figure(989e12, 788e12, f"{_SHEET}; measured with torch, 8192^3, random numbers"),
        passes=Figure(4.8e12, 4.3e12, f"{_SHEET}; measured with torch, a copy of 4.3 GB"),
        recurrence=Figure(None, _WKV, _TARGET),
        operation=_HOST,
        node=Figure(450e9, 368e9, "NVLink 4, one direction; 8 x H200 all-reduce without SHARP (ml-engineering)"),
        network=Figure(50e9, 40e9, "400 Gb/s per device; achieved assumed as NVLink's share"),
    ),
    "h100": DeviceKind(
        name="h100",
        memory=80_000_000_000,
        ahead=True,
        fp32=Figure(67e12, 0.8 * 67e12, f"{_SHEET}; achieved assumed as bf16's share"),
        bf16=Figure(989e12, 794e12, f"{_SHEET}; best product found (ml-engineering, MAMF)"),
        passes=Figure(3.35e12, 3.0e12, f"{_SHEET}; achieved assumed as H200's share"),
        recurrence=Figure(None, _WKV, f"{_TARGET}, of equal fp32 rate"),
        operation=_HOST,
        node=Figure(450e9, 368e9, "NVLink 4, one direction; achieved as on H200"),
        network=Figure(50e9, 40e9, "400 Gb/s per device; achieved assumed as NVLink's share"),
    ),
    "a100": DeviceKind(
        name="a100",
        memory=80_000_000_000,
        ahead=True,
        fp32=Figure(19.5e12, 0.8 * 19.5e12, f"{_SHEET}; achieved assumed"),
        bf16=Figure(312e12, 271e12, f"{_SHEET}; best product found (ml-engineering, MAMF)"),
        passes=Figure(2.04e12, 1.8e12, f"{_SHEET}; achieved assumed as H200's share"),
        recurrence=Figure(None, _WKV * 19.5 / 67, f"{_TARGET}, by fp32 rate"),
        operation=_HOST,
        node=Figure(300e9, 235e9, "NVLink 3, one direction; all-reduce of a node (ml-engineering)"),
        network=Figure(25e9, 20e9, "200 Gb/s per device; achieved assumed as NVLink's share"),
    ),
}
"""ml-engineering: Bekman, "Machine Learning Engineering Open Book", github.com/stas00/ml-engineering: accelerator and
network chapters. MAMF: its maximum achievable matrix FLOP/s, the best of many shapes."""
