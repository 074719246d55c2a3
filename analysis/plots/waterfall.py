"""A statement as a picture: each account as a waterfall through the periods, and what moved within one."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.ledger_statement import ABOUT, CLOSING, OPENING, WITHIN, Statement
from analysis.plots.style import COLOURS, FAINT, INK
from camoe.tracking.short_number import short_number

HOW_TO_READ = (
    "Each account from balance to balance: a period's bars start at what it held and end at what it holds, a bar for "
    "every reason that moved its money; the last panel is what experts paid each other."
)
PANEL_HEIGHT, WIDTH = 2.2, 10.0  # inches
SLOT = 0.86  # share of a period's width that its bars fill
DPI = 150
STILL = 1e-9  # of a balance: what rounding moves


def save_waterfall(statement: Statement, folder: Path) -> list[Path]:
    """Writes waterfall.svg and .png, for one layer waterfall_layer_NN.*; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "waterfall" if statement.layer is None else f"waterfall_layer_{statement.layer:02d}"
    figure, paths = waterfall(statement), [folder / f"{stem}.svg", folder / f"{stem}.png"]
    figure.suptitle(f"Ledger of {statement.title}", fontsize=11, color=INK)
    with matplotlib.rc_context({"svg.hashsalt": "camoe"}):  # the same statement gives the same file
        for path in paths:
            figure.savefig(path, dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def waterfall(statement: Statement) -> Figure:
    """One panel per account, one for the money that moved within an account; periods side by side."""
    colours = _colours(statement)
    panels = len(statement.accounts) + bool(len(statement.within.columns))
    figure = Figure(figsize=(WIDTH, 0.9 + PANEL_HEIGHT * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    for axis, (account, frame) in zip(axes, statement.accounts.items(), strict=False):
        _draw_account(axis, frame, colours)
        _dress(
            axis,
            f"{account}: {ABOUT.get(account, '')}",
            [name for name in frame.columns if name not in (OPENING, CLOSING)],
            colours,
        )
    if len(statement.within.columns):
        _draw_turnover(axes[-1], statement.within, colours)
        _dress(axes[-1], WITHIN, list(statement.within.columns), colours)
    figure.align_ylabels(axes)
    _label_periods(axes[-1], next(iter(statement.accounts.values())).index)
    return figure


def _draw_account(axis: Axes, frame: pd.DataFrame, colours: dict[str, str]) -> None:
    """From opening to closing in every period: a floating bar per reason, joined by the balance's line."""
    axis.use_sticky_edges = False  # leaves air around the bars
    reasons = [name for name in frame.columns if name not in (OPENING, CLOSING)]
    width = SLOT / max(1, len(reasons))
    for place, (_, row) in enumerate(frame.iterrows()):
        level, left = row[OPENING], place - SLOT / 2
        axis.hlines(level, place - 0.5, left if reasons else place + SLOT / 2, color=INK, linewidth=0.8)
        for reason in reasons:
            axis.bar(left, row[reason], width, bottom=level, align="edge", color=colours[reason])
            level, left = level + row[reason], left + width
            axis.hlines(level, left - width, left, color=INK, linewidth=0.8)
        axis.hlines(row[CLOSING], place + SLOT / 2, place + 0.5, color=INK, linewidth=0.8)
    _level_in_sight(axis, frame)


def _level_in_sight(axis: Axes, frame: pd.DataFrame) -> None:
    """A balance that does not move is a line in the middle, not an axis of rounding errors."""
    balances = frame[[OPENING, CLOSING]].to_numpy()
    low, high = balances.min(), balances.max()
    if high - low <= STILL * max(abs(low), abs(high)):
        axis.set_ylim(min(0.0, 2 * high), max(0.0, 2 * high) or 1.0)


def _draw_turnover(axis: Axes, frame: pd.DataFrame, colours: dict[str, str]) -> None:
    width = SLOT / len(frame.columns)
    for number, reason in enumerate(frame.columns):
        left = [place - SLOT / 2 + number * width for place in range(len(frame))]
        axis.bar(left, frame[reason], width, align="edge", color=colours[reason])


def _dress(axis: Axes, title: str, reasons: list[str], colours: dict[str, str]) -> None:
    axis.set_ylabel("money", fontsize=8, color=INK)
    axis.set_title(title, loc="left", fontsize=9, color=INK)
    axis.grid(axis="y", color=FAINT, linewidth=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8, colors=INK, bottom=False)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.spines["left"].set_color(FAINT)
    patches = [Patch(color=colours[reason], label=reason.replace("_", " ")) for reason in reasons]
    if patches:
        legend = axis.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_color(INK)


def _label_periods(axis: Axes, ends: pd.Index) -> None:
    axis.set_xticks(range(len(ends)), [short_number(float(end)) for end in ends])
    axis.set_xlim(-0.5, len(ends) - 0.5)
    axis.set_xlabel("tokens seen at the end of the period", fontsize=8, color=INK)


def _colours(statement: Statement) -> dict[str, str]:
    """One colour for a reason in all panels."""
    frames = [*statement.accounts.values(), statement.within]
    reasons = dict.fromkeys(name for frame in frames for name in frame.columns if name not in (OPENING, CLOSING))
    return {reason: COLOURS[number % len(COLOURS)] for number, reason in enumerate(reasons)}
