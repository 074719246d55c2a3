"""Labels beside lines: at their ends where there is room, apart where there is not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.direct_labels import EndLabel, label_ends, spread
from analysis.plots.style import panel


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread(np.array([0.9, 0.1, 0.5]), 0.2) == pytest.approx([0.9, 0.1, 0.5])


def test_labels_that_touch_move_apart_around_their_middle() -> None:
    found = spread(np.array([0.5, 0.5, 0.52, 0.95]), 0.1)
    assert found[:3] == pytest.approx([0.5 + 0.02 / 3 - 0.1, 0.5 + 0.02 / 3, 0.5 + 0.02 / 3 + 0.1])
    assert found[3] == 0.95


def test_labels_stay_beside_the_axes_and_others_where_they_are() -> None:
    assert spread(np.array([0.0, 0.01, 0.02, 0.6]), 0.1) == pytest.approx([0.0, 0.1, 0.2, 0.6])
    assert spread(np.array([0.99, 1.0, 0.4]), 0.1) == pytest.approx([0.9, 1.0, 0.4])
    assert spread(np.array([0.5, 0.5, 0.5, 0.5]), 0.5) == pytest.approx([0.0, 0.5, 1.0, 1.5])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_kept_and_the_gap_is_held(seed: int) -> None:
    heights = np.random.default_rng(seed).uniform(size=12)
    found = spread(heights, 0.07)
    order = np.argsort(heights)
    assert (np.diff(found[order]) >= 0.07 - 1e-12).all()


def test_only_finite_lines_are_labelled() -> None:
    _, axis = panel()
    axis.plot([0, 1], [0, 2])
    label_ends(axis, [EndLabel("a", 2.0, "#000000"), EndLabel("b", float("nan"), "#000000")])
    assert [text.get_text() for text in axis.texts] == ["a"]
    label_ends(axis, [])
