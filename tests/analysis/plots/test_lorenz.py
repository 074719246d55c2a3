"""Lorenz curves."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.lorenz import lorenz, lorenz_curve
from camoe.tracking.distribution import gini


def test_the_curve_holds_what_the_poorest_have() -> None:
    found = lorenz_curve(np.array([[3.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    assert found[0] == pytest.approx([0, 0, 0, 0.25, 1])
    assert found[1] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert found[2] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_the_gini_written_is_the_one_of_the_metrics() -> None:
    amount = np.random.default_rng(0).exponential(size=(3, 8))
    axis = lorenz({"load": amount}).axes[0]
    assert axis.texts[0].get_text() == f"load, Gini {gini(amount).mean():.2f}"
    assert len(axis.lines) == 1 + 3 + 1 + 1
