"""metrics.jsonl of one run as frames: its numbers by step, its series by layer and expert, and what it came to."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from camoe.config.refusal import ConfigError, not_an_option
from camoe.tracking.metric_definitions import is_series
from camoe.tracking.metrics_log import parse_record

FILE = "metrics.jsonl"
CUMULATIVE = ("progress/tokens_seen", "progress/train_flops", "time/training_s")  # known between two records too


def scalars(folder: str | Path) -> pd.DataFrame:
    """Every number of a run: a row per step that has a record, indexed by step; NaN where none was written.

    Records of one step are one row, the later winning. What adds up (tokens seen, training FLOPs, seconds of training)
    is interpolated at steps that only evaluate. Empty for a run that has recorded nothing.
    """
    rows = ({name: v for name, v in record.items() if not isinstance(v, list)} for record in records(folder))
    frame = pd.DataFrame(rows)
    if frame.empty:
        return pd.DataFrame(index=pd.Index([], name="step"))
    frame = frame.groupby("step").last()
    for name in frame.columns.intersection(list(CUMULATIVE)):
        frame[name] = frame[name].astype(float).interpolate(method="index", limit_area="inside")
    return frame


def series(folder: str | Path, name: str) -> pd.DataFrame:
    """A NAME/by_layer or NAME/by_expert series: long frame with columns step, layer, value, and expert if it has any.

    ConfigError with the nearest match for a series that the run did not record.
    """
    steps, values = series_array(folder, name)
    axes = ("step", "layer", "expert")[: values.ndim]
    index = pd.MultiIndex.from_product([steps, *(range(size) for size in values.shape[1:])], names=axes)
    return pd.Series(values.reshape(-1), index=index, name="value").reset_index()


def series_array(folder: str | Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], values [S, L] or [S, L, E]) of a by_layer or by_expert series, float64."""
    found = [(record["step"], record[name]) for record in records(folder, having=name)]
    if not found or not is_series(name):
        raise not_an_option(str(Path(folder).name), name, series_names(folder), noun="series")
    steps, values = zip(*found, strict=True)
    return np.array(steps), np.array(values, dtype=float)


def series_names(folder: str | Path) -> list[str]:
    """The series that a run has recorded."""
    return sorted({name for record in records(folder) for name in record if is_series(name)})


def outcome(folder: str | Path, last: int) -> dict[str, Any]:
    """What a run came to: metric -> number or text.

    `final/`, `final_averaged/` and `progress/` metrics and time/training_s are the last recorded; all others the mean
    of the last `last` records that have them, NaN when one of those is. `steps` is the last step, time/tokens_per_s
    the median and time/peak_memory the largest of the run.
    """
    file = Path(folder) / FILE
    state = (file.stat().st_size, file.stat().st_mtime_ns) if file.is_file() else None
    return dict(_outcome(Path(folder), last, state))


@lru_cache(maxsize=1000)
def _outcome(folder: Path, last: int, state: tuple[int, int] | None) -> dict[str, Any]:  # noqa: ARG001 (in the key)
    """A long run's file takes a second to read; `state` tells whether it has changed since."""
    ends: dict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=last))
    speeds, peak, steps = [], np.nan, 0
    for record in records(folder):
        for name, value in record.items():
            if not isinstance(value, list):
                ends[name].append(value)
        steps = max(steps, record["step"])
        speeds += [record[name] for name in ("time/tokens_per_s",) if name in record]
        peak = np.fmax(peak, record.get("time/peak_memory", np.nan))
    found = {name: _ending(name, list(values)) for name, values in ends.items() if name not in ("step", "time/unix")}
    times = {"time/tokens_per_s": float(np.median(speeds)) if speeds else np.nan, "time/peak_memory": float(peak)}
    return {"steps": steps, **found, **times}


def records(folder: str | Path, having: str | None = None) -> Iterator[dict[str, Any]]:
    """The complete records of a run, or those with this name; none where metrics.jsonl is missing."""
    path, key = Path(folder) / FILE, None if having is None else f'"{having}":'.encode()
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and (key is None or key in line):
                yield _parsed(line, path, number)


def _parsed(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = parse_record(line)
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: line {number} is no record ({error})") from error
    if "step" not in record:
        raise ConfigError(f"{path}: line {number} is no record (it has no step)")
    return record


def _ending(name: str, values: list[Any]) -> Any:
    if name.startswith(("final/", "final_averaged/", "progress/")) or name in CUMULATIVE or isinstance(values[-1], str):
        return values[-1]
    return float(np.mean(values))
