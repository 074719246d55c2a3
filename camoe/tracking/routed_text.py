"""A text on the terminal whose tokens show which family of experts made them: blue RWKV's, red the Transformer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from camoe.config.experts import ExpertsConfig, expert_labels
from camoe.tracking.bars import BLOCK, expert_colours, marked_bar, stacked_bar, texture
from camoe.tracking.printable import printable

BLUE, RED = (47, 111, 222), (224, 83, 61)
LEVELS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class RoutedText:
    """spans: n tokens' characters. use: [n] share of their winners, over layers, that are Transformer experts.

    use_by_layer: [L] the same over tokens. load: [E] share of each expert in all winners.
    """

    experts: ExpertsConfig
    spans: Sequence[str]
    use: Sequence[float]
    use_by_layer: Sequence[float]
    load: Sequence[float]


def family_colour(use: float) -> str:
    """From blue (0) to red (1), as `#rrggbb`."""
    return "#" + "".join(f"{round(low + (high - low) * use):02x}" for low, high in zip(BLUE, RED, strict=True))


def print_text(text: RoutedText, console: Console) -> None:
    """In colour; on a terminal without, with a line of bars under each line; as it is where it is no terminal."""
    if not console.is_terminal:
        console.file.write("".join(text.spans) + "\n")
    elif _in_colour(console):
        coloured = [(printable(span), family_colour(use)) for span, use in zip(text.spans, text.use, strict=True)]
        console.print(Text.assemble(*coloured), soft_wrap=True)
    else:
        for line in lines_with_bars(text, console.width):
            console.print(Text(line), soft_wrap=True)


def lines_with_bars(text: RoutedText, width: int) -> list[str]:
    """Lines of at most `width` characters, each followed by one whose bars are as high as the Transformer use."""
    lines, line, bars = [], "", ""
    for span, use in zip(text.spans, text.use, strict=True):
        for character in printable(span).replace("\t", " "):
            if character == "\n" or len(line) == width:
                lines += [line, bars]
                line = bars = ""
            if character != "\n":
                line, bars = line + character, bars + LEVELS[min(int(use * len(LEVELS)), len(LEVELS) - 1)]
    return [*lines, line, bars]


def print_shares(text: RoutedText, console: Console) -> None:
    """Every layer's Transformer use, and what share of all winners each expert was."""
    experts, colour = text.experts, _in_colour(console)
    fair = experts.transformer_prefix / experts.total
    overall = sum(text.use_by_layer) / len(text.use_by_layer)
    table = Table.grid(padding=(0, 2))
    table.add_row("", Text(f"Transformer use, ┃ its fair share: {fair:.0%}", style="grey58"))
    for name, use in [*((f"L{layer:02d}", use) for layer, use in enumerate(text.use_by_layer)), ("all", overall)]:
        table.add_row(f"  {name}", marked_bar(use, fair, 40, family_colour(use)), f"{use:4.0%}")
    colours = expert_colours(experts.first_prefix, experts.total)
    table.add_row("  load", stacked_bar(text.load, colours, 40, colour))
    console.print()
    console.print(table)
    legend = Text("  ")
    for index, (label, share) in enumerate(zip(expert_labels(experts), text.load, strict=True)):
        legend.append(BLOCK * 2 if colour else texture(index) * 2, style=colours[index]).append(
            f" {label} {share:.0%}  "
        )
    console.print(legend)


def _in_colour(console: Console) -> bool:
    return console.color_system is not None and not console.no_color
