"""Shares of load or capital as maps."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.share_map import share_at_the_end, share_over_time

NAMES = ["R0", "R1", "T0"]


def shares(layers: int, experts: int = 3, windows: int = 10) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(experts), size=(windows, layers))


def test_rows_are_experts_by_layer_and_values_distances_from_an_even_share() -> None:
    values, tokens = shares(2), np.arange(1, 11) * 10.0
    figure = share_over_time(tokens, values, NAMES)
    (image,) = figure.axes[0].images
    grid = np.asarray(image.get_array())
    assert grid.shape == (6, 10)
    assert grid[4] == pytest.approx(values[:, 1, 1] - 1 / 3)
    low, high = image.get_clim()
    assert (low, high) == pytest.approx((-np.abs(grid).max(), np.abs(grid).max()))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["L00", "L01"]
    assert [text.get_text() for text in figure.axes[0].texts] == NAMES * 2


def test_many_layers_and_one_window_fit() -> None:
    figure = share_over_time(np.array([10.0]), shares(40, windows=1), NAMES)
    assert figure.get_figheight() < 12
    assert len(figure.axes[0].texts) == 0


def test_the_end_shows_percent_in_each_cell_readable_on_its_colour() -> None:
    values = np.array([[0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    axis = share_at_the_end(values, NAMES).axes[0]
    assert [text.get_text() for text in axis.texts] == ["20", "30", "50", "33", "33", "33"]
    colours = [text.get_color() for text in axis.texts]
    assert colours[2] == "#ffffff"
    assert colours[4] == "#000000"


def test_even_shares_are_white_not_noise() -> None:
    (image,) = share_at_the_end(np.full((2, 3), 1 / 3), NAMES).axes[0].images
    assert image.get_clim() == (-0.01, 0.01)


def test_shares_that_are_not_numbers_leave_the_map_empty() -> None:
    (image,) = share_over_time(np.array([1.0, 2.0]), np.full((2, 1, 3), np.nan), NAMES).axes[0].images
    assert np.ma.getmaskarray(image.get_array()).all()
    assert image.get_clim() == (-0.01, 0.01)
