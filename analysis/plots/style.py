"""How every plot looks: size, type, colours, axes, numbers. `inline_svg` puts the page's own ink for INK and FAINT."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from camoe.tracking.short_number import short_number

COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6a93", "#8c6d46", "#b3b300", "#7f7f7f"),
    *("#882255", "#332288"),
)
"""Told apart by people who see fewer colours: Okabe and Ito's first, then six muted ones."""
COOL = ("#0072b2", "#009e73", "#56b4e9", "#7f6a93", "#7f7f7f", "#b3b300")
WARM = ("#d55e00", "#e69f00", "#cc79a7", "#8c6d46")
"""The same colours in two families: RWKV and Transformer experts."""
LINES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)))  # the same colours again, broken
INK, FAINT = "#333333", "#c8c8c8"
DIVERGING, SEQUENTIAL = "RdBu_r", "cividis"
HALF, WIDE = 4.6, 9.4  # inches; two halves stand side by side on a desktop, each fills a phone
HEIGHT = 2.9
TEXT, SMALL = 8.5, 7.5  # points

Array = NDArray[np.float64]


def panel(width: float = HALF, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure with one dressed pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    dress(axis)
    return figure, axis


def panels(columns: int, rows: int, width: float, height: float, share: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of dressed axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).flat)
    for axis in axes:
        dress(axis)
    return figure, axes


def dress(axis: Axes) -> None:
    """Quiet axes: no frame, a faint horizontal grid below what is drawn."""
    axis.grid(axis="y", color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=SMALL, colors=INK, length=0, pad=4)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(FAINT)


def name_axes(axis: Axes, x: str, y: str) -> None:
    """The horizontal quantity below; the vertical one above the axes, where it is read without turning the head."""
    axis.set_xlabel(x, fontsize=SMALL, color=INK)
    axis.set_title(y, loc="left", fontsize=TEXT, color=INK, pad=7)


def count_axis(axis: Axes, which: str = "x") -> None:
    """Tokens, FLOPs: 20k, 1.5M."""
    side = axis.xaxis if which == "x" else axis.yaxis
    side.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    side.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def log_axis(axis: Axes, values: Array) -> None:
    """A logarithmic vertical axis with a few round numbers written out; plain where nothing is positive."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return
    axis.set_yscale("log")
    low, high = positive.min() / 1.3, positive.max() * 1.3
    axis.set_ylim(low, high)
    axis.yaxis.set_major_locator(FixedLocator(round_numbers(low, high)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten between two positive ends; powers of ten alone over more than two decades."""
    steps = (1.0,) if high / low > 200 else (1.0, 2.0, 5.0)
    ticks = LogLocator(subs=steps).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def series_style(number: int) -> dict[str, object]:
    """Colour and line of the number-th of several series."""
    turn = number // len(COLOURS)
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[turn % len(LINES)]}


def expert_colours(n_cheap: int, n_expert: int) -> list[str]:
    """Cool for the n_cheap that come first, warm for Transformer experts, repeated where there are many."""
    cool = [COOL[number % len(COOL)] for number in range(n_cheap)]
    return cool + [WARM[number % len(WARM)] for number in range(n_expert - n_cheap)]
