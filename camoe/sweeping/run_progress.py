"""How far a run is: read from the end of its metrics.jsonl."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from camoe.tracking.metrics_log import iterate_records, last_record_with
from camoe.tracking.run_folder import RunFolder

SPEED = "time/tokens_per_s"
TAIL = 2**18  # bytes; some dozens of records


@dataclass(frozen=True)
class RunProgress:
    """value: the newest of the primary metric. NaN and None where nothing is recorded yet."""

    step: int
    total_steps: int
    value: float
    tokens_per_s: float
    seconds_left: float | None


def run_progress(folder: RunFolder, metric: str) -> RunProgress:
    """Of a run, finished or not. `total_steps` is 0 where the configuration cannot be read."""
    if not folder.metrics_file.exists():
        return RunProgress(0, _total_steps(folder), math.nan, math.nan, None)
    newest = _newest_records(folder)
    trained = [record for record in newest if SPEED in record]
    step = int(newest[-1]["step"]) if newest else 0
    total = _total_steps(folder)
    value = last_record_with(folder.metrics_file, metric).get(metric, math.nan) if newest else math.nan
    speed = trained[-1][SPEED] if trained else math.nan
    return RunProgress(step, total, float(value), float(speed), _seconds_left(trained, total))


def _newest_records(folder: RunFolder) -> list[dict[str, Any]]:
    """Those at the end of the file, without the one that the look began in."""
    with folder.metrics_file.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - TAIL, 0))
        content = file.read()
    start = content.find(b"\n") + 1 if size > TAIL else 0
    return [record for record, _ in iterate_records(content, start)]


def _total_steps(folder: RunFolder) -> int:
    schedule = folder.config().get("phase", {}).get("schedule", {})
    return sum(int(phase["steps"]) for phase in schedule.values())


def _seconds_left(trained: list[dict[str, Any]], total_steps: int) -> float | None:
    """At the pace of the last records between which steps were done."""
    for earlier, later in reversed(list(pairwise(trained))):
        if later["step"] > earlier["step"]:
            pace = (later["time/unix"] - earlier["time/unix"]) / (later["step"] - earlier["step"])
            return max(total_steps - later["step"], 0) * pace
    return None
