"""A quantity by layer over time."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.layer_map import layer_map


def test_rows_are_layers_and_the_fair_share_is_marked() -> None:
    values = np.array([[0.1, 0.2], [0.3, 0.4]])
    figure = layer_map(np.array([1.0, 2.0]), values, "percent", fair=0.5)
    (image,) = figure.axes[0].images
    assert np.asarray(image.get_array()) == pytest.approx(values.T)
    assert image.get_clim() == (0, 0.5)
    assert [float(np.asarray(line.get_ydata())[0]) for line in figure.axes[1].lines] == [0.5]


def test_nothing_anywhere_can_be_drawn() -> None:
    (image,) = layer_map(np.array([1.0]), np.zeros((1, 1)), "percent").axes[0].images
    low, high = image.get_clim()
    assert low == 0 < high  # a scale of no extent would colour nothing as everything
