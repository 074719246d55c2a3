"""What job=plan plans for."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting


@dataclass(kw_only=True)
class PlanJob:
    """The devices. Figures of known kinds stand in camoe/profiling/device_kinds.py; `cpu` is this machine, measured."""

    device: str = setting("h200", help="kind of device", options=("h200", "h100", "a100", "cpu"))
    devices: int | None = setting(None, help="how many; null: the fewest, a power of two, that the run fits", low=1)
    per_node: int = setting(8, help="devices of one node, whose links are faster than those between nodes", low=1)
    measured: str = setting(
        "outputs/benchmarks/performance.json", help="result of python -m benchmarks device_rates, for device cpu"
    )
