"""Pairs of runs that differ in their arm and in nothing else: same seeds, text, budget and initial backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from camoe.config import ConfigError

KEY = ["seed_init", "seed_data"]
COLUMNS = [*KEY, "value", "reference_value", "difference", "flops_ratio", "folder", "reference_folder"]
SAME = {
    "data": "held-out text or tokenizer (data hash)",
    "stream_hash": "training sequences (stream hash)",
    "tokens": "training tokens",
    "initial_weights.rwkv_backbone": "initial weights of the backbone (hash)",
    "initial_weights.embedding_head": "initial weights of embedding and head (hash)",
}


@dataclass(frozen=True)
class Pairs:
    """frame: as `Comparison.pairs`, without the arm. unchecked: what SAME asks for and some run has not recorded."""

    frame: pd.DataFrame
    unchecked: tuple[str, ...]


def pair(arm: pd.DataFrame, reference: pd.DataFrame) -> Pairs:
    """Pairs of counted runs of two arms by (init, data) seeds; runs that differ in router noise alone are averaged.

    ConfigError, one line, for the first pair that differs in anything in SAME. FLOPs may differ: flops_ratio is the
    arm's FLOPs per token over the reference's, of training where both have recorded it, else of the final evaluation.
    """
    rows = []
    for key, ours in arm.groupby(KEY):
        seeds = dict(zip(KEY, key, strict=True))
        theirs = reference[(reference[KEY] == list(seeds.values())).all(axis=1)]
        if len(theirs):
            _check_same(ours, theirs, seeds)
            rows.append(seeds | _difference(ours, theirs))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    unchecked = tuple(
        what for name, what in SAME.items() if len(rows) and not (_known(arm, name) and _known(reference, name))
    )
    return Pairs(frame, unchecked)


def _check_same(ours: pd.DataFrame, theirs: pd.DataFrame, seeds: Mapping[str, Any]) -> None:
    both = pd.concat([ours, theirs])
    for name, what in SAME.items():
        found = list(both[name].dropna().unique()) if name in both else []
        if len(found) > 1:
            names = f"{ours['arm'].iloc[0]} and {theirs['arm'].iloc[0]}"
            raise ConfigError(
                f"{names}, seed {seeds[KEY[0]]}: cannot be paired, they differ in {what}: {_short(found[0])} and "
                f"{_short(found[1])}"
            )


def _difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, object]:
    value, reference = float(ours["value"].mean()), float(theirs["value"].mean())
    return {
        "value": value,
        "reference_value": reference,
        "difference": value - reference,
        "flops_ratio": _flops_ratio(ours, theirs),
        "folder": ours["folder"].iloc[0],
        "reference_folder": theirs["folder"].iloc[0],
    }


def _flops_ratio(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    for per_token in (_training_flops, _evaluation_flops):
        ratio = per_token(ours) / per_token(theirs)
        if np.isfinite(ratio):
            return ratio
    return float("nan")


def _training_flops(runs: pd.DataFrame) -> float:
    return float((pd.to_numeric(runs["train_flops"]) / pd.to_numeric(runs["tokens"])).mean())


def _evaluation_flops(runs: pd.DataFrame) -> float:
    return float(pd.to_numeric(runs["flops_per_token"]).mean())


def _known(runs: pd.DataFrame, name: str) -> bool:
    return name in runs and bool(runs[name].notna().all())


def _short(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)[:12]
