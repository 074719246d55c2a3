"""From one value per layer (or per layer and expert) to the names under which it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camoe.tracking.distribution import Array
from camoe.tracking.metric_definition import BY_EXPERT, BY_LAYER, WORST
from camoe.tracking.metric_definitions import BY_RECORDED_NAME


def over_layers(values: Mapping[str, Array]) -> dict[str, float]:
    """[L] arrays by metric name -> their means, and the worst layer of the metrics that have one."""
    record: dict[str, float] = {}
    for name, layers in values.items():
        if layers.ndim == 1 and layers.size:
            record |= {name: float(layers.mean()), f"{name}/{WORST}": _worst(name, layers)}
    return _defined(record)


def series_of(values: Mapping[str, Array]) -> dict[str, Any]:
    """[L] and [L,E] arrays by metric name -> lists per layer and per expert."""
    return _defined({f"{name}/{BY_LAYER if v.ndim == 1 else BY_EXPERT}": v.tolist() for name, v in values.items()})


def _worst(name: str, layers: Array) -> float:
    definition = BY_RECORDED_NAME.get(f"{name}/{WORST}")
    return float(layers.min() if definition is not None and definition.worst == "min" else layers.max())


def _defined(record: dict[str, Any]) -> dict[str, Any]:
    """Only the forms that the table of definitions keeps."""
    return {name: value for name, value in record.items() if name in BY_RECORDED_NAME}
