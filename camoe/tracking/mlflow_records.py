"""Records of metrics.jsonl in the form that MLflow takes, and which of them a store has."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from camoe.tracking.metric_definitions import is_series
from camoe.tracking.provenance import without_passwords
from camoe.tracking.upload_mark import Position, RecordTail

if TYPE_CHECKING:
    from mlflow.entities import Metric

METRICS_PER_BATCH, LONGEST_VALUE = 1000, 5000
INDEX = ("step", "time/unix")  # of a record; MLflow has its own columns for them
WITNESS = "time/peak_memory"  # in every record and sent last of it: where it is, the whole record is


class StoredRecords:
    """Which records a store has, by the history of `WITNESS`: they arrive in order, so a count for each step tells."""

    def __init__(self, witnesses: Iterable[Metric] = ()) -> None:
        self._count = Counter(witness.step for witness in witnesses)

    def has(self, record: Position) -> bool:
        """Whether the last record before that position has arrived whole."""
        return record.count <= self._count[record.step]


def batches(tail: RecordTail, stored: StoredRecords, every_series: bool) -> Iterator[tuple[list[Metric], Position]]:
    """Records the store lacks, packed into batches; a batch's position is behind the last record complete with it."""
    from mlflow.entities import Metric

    batch: list[Metric] = []
    position = tail.position
    for record, behind in tail.ahead():
        values = {} if stored.has(behind) else mlflow_values(record, every_series)
        # Records of one step are a millisecond apart: MLflow takes equal values of one instant for one value.
        milliseconds = int(record.get("time/unix", time.time()) * 1000) + behind.count - 1
        for name, value in values.items():
            if len(batch) == METRICS_PER_BATCH:
                yield batch, position
                batch = []
            batch.append(Metric(name, value, milliseconds, record["step"]))
        position = behind
    yield batch, position


def mlflow_values(record: Mapping[str, Any], every_series: bool) -> dict[str, float]:
    """The numbers of a record under MLflow names; series as NAME/layer_00 and NAME/layer_00/expert_0 when wanted."""
    values: dict[str, float] = {}
    for name, value in record.items():
        if is_series(name):
            values |= _expanded(name, value) if every_series else {}
        elif isinstance(value, (int, float)) and name not in INDEX:
            values[name] = float(value)
    if WITNESS in values:
        values[WITNESS] = values.pop(WITNESS)
    return values


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted names and values of a nested configuration, values cut to what MLflow takes."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = without_passwords(str(value))[:LONGEST_VALUE]
    return flat


def _expanded(name: str, layers: list[Any]) -> dict[str, float]:
    base = name.rpartition("/")[0]
    values: dict[str, float] = {}
    for layer, value in enumerate(layers):
        if isinstance(value, list):
            values |= {f"{base}/layer_{layer:02d}/expert_{expert}": float(v) for expert, v in enumerate(value)}
        else:
            values[f"{base}/layer_{layer:02d}"] = float(value)
    return values
