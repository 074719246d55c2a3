"""metrics.jsonl of one run as arrays over tokens, thinned where a long run recorded more than a plot can show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from camoe.tracking.metrics_log import parse_record

Array = NDArray[np.float64]
TOKENS = "progress/tokens_seen"
MOST = 600
"""Training windows that are read: more than the columns of a plot."""


class NotRecorded(Exception):
    """A part of a report has nothing to show; the text says what is missing, and why where that is known."""


@dataclass(frozen=True)
class RunHistory:
    """windows: records of training, every `stride`-th and the last; evaluations: valid/; final: {} before the end."""

    windows: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    final: dict[str, Any]
    stride: int = 1

    @classmethod
    def read(cls, path: Path, most: int = MOST) -> RunHistory:
        """Of a run folder's metrics.jsonl; of one that is missing or empty, no records. Parses only what it keeps."""
        content = path.read_bytes() if path.is_file() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        windows, rest = _parted(lines, _is_window)
        evaluations, rest = _parted(rest, lambda line: b'"valid/loss":' in line)
        finals = [line for line in rest if b'"final/loss":' in line]
        stride = max(1, -(-len(windows) // most))
        kept = windows[stride - 1 :: stride]
        if windows and (not kept or kept[-1] is not windows[-1]):
            kept.append(windows[-1])
        return cls(
            [parse_record(line) for line in kept],
            [parse_record(line) for line in evaluations],
            parse_record(finals[-1]) if finals else {},
            stride,
        )

    def has(self, name: str) -> bool:
        """Whether any training window or evaluation has this name."""
        return any(name in record for record in (*self.windows, *self.evaluations))

    def series(self, name: str) -> tuple[Array, Array]:
        """(tokens [T], values [T], [T,L] or [T,L,E]) of the records that have the name; NotRecorded where none has.

        Records of another shape than the last are left out.
        """
        of_training = not name.startswith("valid/")
        found = [record for record in (self.windows if of_training else self.evaluations) if name in record]
        values = [np.asarray(record[name], dtype=float) for record in found]
        if not values:
            raise NotRecorded(f"{name} was not recorded")
        same = [index for index, value in enumerate(values) if value.shape == values[-1].shape]
        tokens = self.tokens_at([found[index]["step"] for index in same])
        return tokens, np.stack([values[index] for index in same])

    def frame(self, *names: str) -> pd.DataFrame:
        """Scalars of the training windows by tokens; a column of NaN for a name that is nowhere."""
        rows = [[record.get(name, np.nan) for name in names] for record in self.windows]
        index = pd.Index([record[TOKENS] for record in self.windows], name="tokens", dtype=float)
        return pd.DataFrame(rows, columns=list(names), index=index, dtype=float)

    def tokens_at(self, steps: Sequence[int]) -> Array:
        """Tokens seen at the end of these steps; the steps themselves in a history without tokens."""
        try:
            return self.spent(TOKENS, steps)
        except NotRecorded:
            return np.asarray(steps, dtype=float)

    def spent(self, name: str, steps: Sequence[int]) -> Array:
        """What a sum since the start had come to at the end of these steps, between records by interpolation."""
        known = [(record["step"], record[name]) for record in (*self.windows, self.final) if name in record]
        if not known:
            raise NotRecorded(f"{name} was not recorded")
        at, sums = zip(*sorted(known), strict=True)
        return np.interp(steps, [0, *at], [0, *sums])

    def phases(self) -> list[tuple[str, float]]:
        """(name, tokens before its first record) of every training phase, in order."""
        found: list[tuple[str, float]] = []
        before = 0.0
        for record in self.windows:
            name = str(record.get("phase/name", ""))
            if name and (not found or found[-1][0] != name):
                found.append((name, before))
            before = float(record[TOKENS])
        return found

    def last(self, name: str) -> Any:
        """The newest value of any record; None where nothing has the name."""
        for record in (self.final, *reversed(self.evaluations), *reversed(self.windows)):
            if name in record:
                return record[name]
        return None


def _is_window(line: bytes) -> bool:
    return b'"loss/total":' in line and b'"progress/tokens_seen":' in line


def _parted(lines: list[bytes], wanted: Callable[[bytes], bool]) -> tuple[list[bytes], list[bytes]]:
    """(those that are wanted, the others), both in order."""
    chosen: list[bytes] = []
    others: list[bytes] = []
    for line in lines:
        (chosen if wanted(line) else others).append(line)
    return chosen, others
