"""Scatter of capital."""

from __future__ import annotations

import numpy as np

from analysis.plots.capital_against import CREDIT, LOAD, capital_against

KINDS, COLOURS = ["RWKV", "RWKV", "Transformer"], {"RWKV": "#0072b2", "Transformer": "#d55e00"}


def points(axis: object) -> list[tuple[list[float], list[float]]]:
    drawn = [line for line in axis.lines if line.get_marker() == "o"]  # type: ignore[attr-defined]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in drawn]


def test_every_expert_of_every_layer_is_a_point_in_the_colour_of_its_kind() -> None:
    load, capital = np.array([[0.1, 0.2, 0.7], [0.2, 0.2, 0.6]]), np.array([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8]])
    axis = capital_against(load, capital, LOAD, KINDS, COLOURS).axes[0]
    assert points(axis)[2] == ([0.7, 0.6], [0.4, 0.8])
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["RWKV", "Transformer"]


def test_errors_are_drawn_as_intervals() -> None:
    credit = np.array([[0.0, 0.1, 0.2]])
    axis = capital_against(credit, credit, CREDIT, KINDS, COLOURS, np.full((1, 3), 0.05)).axes[0]
    assert len(axis.collections) == 3
