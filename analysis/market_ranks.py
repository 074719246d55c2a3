"""Does capital follow merit, or popularity? Rank correlations of capital with credit and with load, run by run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.run_records import FILE
from analysis.statistics.rank_correlation import spearman_by_layer
from camoe.tracking.metrics_log import last_record_with

CAPITAL, LOAD, CREDIT = "market/capital_share/by_expert", "routing/load/by_expert", "market/credit/by_expert"
GAIN = "market/holdout_gain"
IDENTITY = ["arm", "seed_init", "seed_data", "folder"]
COLUMNS = [
    *IDENTITY,
    "holdout_gain",
    "capital_credit",
    "capital_load",
    "capital_credit_by_layer",
    "capital_load_by_layer",
]


def market_ranks(runs: pd.DataFrame) -> pd.DataFrame:
    """`Comparison.market`: a row per counted run that has a market, at the last record that has the series."""
    rows = [
        {**{name: run[name] for name in IDENTITY}, **found}
        for run in runs[runs["counted"]].to_dict("records")
        if (found := ranks_of_run(run["folder"]))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def ranks_of_run(folder: Path) -> dict[str, Any]:
    """Empty for a run without a market; credit and gain are NaN under economies that measure none."""
    record = last_record_with(folder / FILE, CAPITAL)
    if LOAD not in record:
        return {}
    capital = np.array(record[CAPITAL], dtype=float)
    found: dict[str, Any] = {"holdout_gain": record.get(GAIN, np.nan)}
    for name, other in (("capital_load", LOAD), ("capital_credit", CREDIT)):
        values = np.array(record[other], dtype=float) if other in record else np.full_like(capital, np.nan)
        by_layer = spearman_by_layer(capital, values)
        known = by_layer[np.isfinite(by_layer)]
        found |= {name: float(known.mean()) if len(known) else np.nan, f"{name}_by_layer": by_layer}
    return found
