"""Loss against balance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.plots.frontier import coefficient_series, frontier
from analysis.plots.placed_names import place_names
from analysis.plots.style import panel


def test_arms_that_differ_in_one_number_are_a_series_in_its_order() -> None:
    arms = ["off", "aux 0.1", "aux 0.01", "bias_1e-3", "bias_2", "v18", "v21", "3r1t", "8r0t", "rate=0.1 k=2"]
    assert coefficient_series(arms) == [["aux 0.01", "aux 0.1"], ["bias_1e-3", "bias_2"]]
    assert coefficient_series(["a=1 b=1", "a=2 b=1", "a=1 b=2"]) == [["a=1 b=1", "a=2 b=1"], ["a=1 b=1", "a=1 b=2"]]


def runs(maxvio: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"arm": ["x 1", "x 1", "x 2", "x 2"], "maxvio": maxvio, "loss": [3.0, 3.2, 2.0, 2.2]})


def test_seeds_are_dots_means_are_rings_and_series_are_lines() -> None:
    axis = frontier(runs([0.5, 0.7, 0.1, 0.3]), {"x 1": "#000000", "x 2": "#ff0000"}, 0.01).axes[0]
    series, *others = axis.lines
    assert np.asarray(series.get_xydata()) == pytest.approx(np.array([[0.6, 3.1], [0.2, 2.1]]))
    rings = [line for line in others if line.get_markerfacecolor() == "none"]
    assert [tuple(np.asarray(ring.get_xydata()).ravel()) for ring in rings] == [(0.6, 3.1), (0.2, 2.1)]
    assert [text.get_text() for text in axis.texts] == ["x 1", "x 2"]
    assert axis.get_xscale() == "linear"


def test_more_than_a_decade_of_balance_is_logarithmic_and_missing_figures_are_left_out() -> None:
    colours = {"x 1": "#000000", "x 2": "#ff0000"}
    assert frontier(runs([2.0, 2.0, 0.1, 0.1]), colours).axes[0].get_xscale() == "log"
    axis = frontier(runs([2.0, 2.0, np.nan, np.nan]), colours).axes[0]
    assert [text.get_text() for text in axis.texts] == ["x 1"]
    assert frontier(runs([0.0] * 4), colours, np.nan).axes[0].get_xscale() == "linear"


def test_names_of_points_that_lie_together_do_not_cover_each_other() -> None:
    figure, axis = panel()
    axis.plot([0, 1], [0, 1])
    place_names(axis, ["first", "second", "third"], np.array([[0.5, 0.5], [0.505, 0.5], [0.5, 0.51]]))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])
