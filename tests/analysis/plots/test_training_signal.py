"""A scalar over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.plots.training_signal import training_signal


def frame(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(np.arange(1.0, 5.0)))


def test_a_logarithmic_signal_leaves_out_what_is_not_positive() -> None:
    axis = training_signal(frame(norm=[0.1, 0.0, 1.0, 2.0]), "gradient norm", log=True).axes[0]
    raw = np.asarray(axis.lines[0].get_ydata())
    assert np.isnan(raw[1])
    assert axis.get_yscale() == "log"
    assert axis.get_title(loc="left") == "gradient norm"


def test_several_lines_are_named() -> None:
    two = frame(a=[1.0, 2, 3, 4], b=[2.0, 2, 2, 2])
    assert [text.get_text() for text in training_signal(two, "rate").axes[0].texts] == ["a", "b"]
    legend = training_signal(two, "rate", smooth=False).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert len(training_signal(two[["a"]], "rate").axes[0].texts) == 0
