"""Axes, numbers and colours that every plot shares."""

from __future__ import annotations

import numpy as np

from analysis.plots.style import COLOURS, count_axis, expert_colours, log_axis, panel, round_numbers, series_style


def test_a_logarithmic_axis_holds_round_numbers_around_the_values() -> None:
    _, axis = panel()
    log_axis(axis, np.array([0.0, np.nan, 0.03, 2.0]))
    low, high = axis.get_ylim()
    assert axis.get_yscale() == "log"
    assert low < 0.03
    assert high > 2.0
    assert list(axis.get_yticks()) == [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]


def test_nothing_positive_leaves_the_axis_linear() -> None:
    _, axis = panel()
    log_axis(axis, np.array([0.0, -1.0, np.nan]))
    assert axis.get_yscale() == "linear"


def test_many_decades_show_powers_of_ten_only() -> None:
    assert round_numbers(0.001, 1.5) == [0.001, 0.01, 0.1, 1.0]


def test_counts_are_short() -> None:
    figure, axis = panel()
    axis.plot([0, 2_000_000], [0, 1])
    count_axis(axis)
    figure.canvas.draw()
    assert "1M" in [label.get_text() for label in axis.get_xticklabels()]


def test_series_beyond_the_colours_are_broken_lines() -> None:
    styles = [str(series_style(number)) for number in range(3 * len(COLOURS))]
    assert len(set(styles)) == len(styles)


def test_kinds_of_experts_share_no_colour() -> None:
    colours = expert_colours(6, 8)
    assert len(set(colours)) == 8
    assert len(expert_colours(30, 40)) == 40
