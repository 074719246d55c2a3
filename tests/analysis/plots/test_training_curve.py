"""Loss over tokens."""

from __future__ import annotations

import numpy as np

from analysis.plots.training_curve import training_curve

TOKENS, LOSS = np.arange(1, 101) * 10.0, np.linspace(4, 2, 100)


def test_training_and_held_out_losses_are_drawn_and_named() -> None:
    figure = training_curve(TOKENS, LOSS, TOKENS[::20], LOSS[::20] + 0.1, [("warm", 0.0), ("normal", 500.0)])
    axis = figure.axes[0]
    lines = {len(line.get_xdata()): line for line in axis.lines}  # type: ignore[arg-type]
    assert np.array_equal(lines[5].get_ydata(), LOSS[::20] + 0.1)
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["warm", "normal", "training", "held out"]
    assert axis.get_xlim() == (0, 1000)


def test_one_record_and_no_evaluation_is_enough() -> None:
    axis = training_curve(TOKENS[:1], LOSS[:1], np.empty(0), np.empty(0)).axes[0]
    assert [text.get_text() for text in axis.texts] == ["training"]


def test_a_loss_that_was_not_finite_is_a_gap() -> None:
    loss = LOSS.copy()
    loss[50:] = np.nan
    axis = training_curve(TOKENS, loss, np.empty(0), np.empty(0)).axes[0]
    assert [text.get_text() for text in axis.texts] == []
