"""Bars of block characters that can be read with and without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

BLOCK = "▆"  # leaves a gap between rows
TEXTURES = "█▒▓░"
RWKV_COLOURS = ("#2f6fde", "#5b9bf0", "#8fbff7", "#3c55b0", "#6f7fe0", "#9fb0f0", "#1f4f9f", "#4fa3c7")
TRANSFORMER_COLOURS = ("#e0533d", "#f0876b", "#b83a2b", "#f5b09a")


def bar(value: float, width: int, style: str = "") -> Text:
    """A bar that fills `value` (0..1) of `width` columns."""
    return Text(BLOCK * _whole(value, width), style=style)


def marked_bar(value: float, mark: float, width: int, style: str) -> Text:
    """A bar with a line at `mark` (0..1), visible inside the bar and beyond it."""
    text = Text()
    for column in range(width):
        if column == min(_whole(mark, width), width - 1):
            text.append("┃", style="bold bright_white")
        elif column < _whole(value, width):
            text.append(BLOCK, style=style)
        else:
            text.append("·", style="grey42")
    return text


def stacked_bar(shares: Sequence[float], colours: Sequence[str], width: int, colour: bool) -> Text:
    """Shares that add up to 1 side by side; told apart by colour, or by texture where there is none."""
    text = Text()
    for index, columns in enumerate(_columns(shares, width)):
        text.append((BLOCK if colour else texture(index)) * columns, style=colours[index])
    return text


def texture(index: int) -> str:
    """The character of the index-th part of a bar without colour."""
    return TEXTURES[index % len(TEXTURES)]


def expert_colours(n_cheap: int, n_expert: int) -> list[str]:
    """Blues for the n_cheap experts that come first, reds for Transformer experts."""
    return [
        RWKV_COLOURS[i % len(RWKV_COLOURS)]
        if i < n_cheap
        else TRANSFORMER_COLOURS[(i - n_cheap) % len(TRANSFORMER_COLOURS)]
        for i in range(n_expert)
    ]


def _whole(share: float, width: int) -> int:
    return round(min(max(share, 0.0), 1.0) * width)


def _columns(shares: Sequence[float], width: int) -> list[int]:
    """Whole columns that add up to `width`, by largest remainder."""
    positive = [max(share, 0.0) for share in shares]
    if not any(positive):
        return [0] * len(shares)
    exact = [share / sum(positive) * width for share in positive]
    columns = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: columns[i] - exact[i])
    for i in by_remainder[: width - sum(columns)]:
        columns[i] += 1
    return columns
