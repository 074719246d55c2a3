"""Training and held-out loss of one run."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.plots.direct_labels import EndLabel, label_ends
from analysis.plots.phase_marks import mark_phases
from analysis.plots.smoothing import running_mean, window_for
from analysis.plots.style import COLOURS, Array, count_axis, name_axes, panel

TITLE = "Loss"
HOW_TO_READ = (
    "Lower is better: the line is the running mean of the training loss (pale: each record), dots are the held-out "
    "evaluations; a dotted line begins a training phase."
)


def training_curve(
    tokens: Array, loss: Array, valid_tokens: Array, valid_loss: Array, phases: Sequence[tuple[str, float]] = ()
) -> Figure:
    """tokens, loss [T] of training; valid_tokens, valid_loss [V], possibly empty; nats per token."""
    figure, axis = panel()
    mark_phases(axis, phases, named=True)
    smooth = running_mean(loss, window_for(len(loss)))
    axis.plot(tokens, loss, color=COLOURS[0], linewidth=0.7, alpha=0.35)
    axis.plot(tokens, smooth, color=COLOURS[0], linewidth=1.5)
    labels = [EndLabel("training", float(smooth[-1]), COLOURS[0])]
    if len(valid_loss):
        axis.plot(valid_tokens, valid_loss, "o-", color=COLOURS[1], markersize=3, linewidth=0.8)
        labels.append(EndLabel("held out", float(valid_loss[-1]), COLOURS[1]))
    count_axis(axis)
    axis.set_xlim(0, tokens[-1])
    name_axes(axis, "tokens seen", "loss, nats per token")
    label_ends(axis, labels)
    return figure
