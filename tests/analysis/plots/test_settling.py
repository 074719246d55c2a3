"""Saturation and churn by layer, with chance."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.plots.settling import churn_over_time, saturation_over_time

TOKENS = np.array([10.0, 20.0, 30.0])


def named(axis: Axes) -> list[str]:
    legend = axis.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_every_layer_is_a_line_and_chance_is_dashed() -> None:
    values = np.linspace(0.5, 1, 12).reshape(3, 4)
    axis = saturation_over_time(TOKENS, values, 0.25).axes[0]
    assert [list(line.get_ydata()) for line in axis.lines[:4]] == [pytest.approx(column) for column in values.T]
    assert list(axis.lines[4].get_ydata()) == [0.25, 0.25]
    assert [text.get_text() for text in axis.texts] == ["chance"]
    assert named(axis) == ["L00", "L02", "L03"]
    assert axis.get_ylim() == (0, 1.02)


def test_one_layer_and_one_change_can_be_drawn() -> None:
    axis = churn_over_time(TOKENS[1:2], np.array([[0.3]]), 0.75).axes[0]
    assert named(axis) == ["L00"]
