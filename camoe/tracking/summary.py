"""What a finished run looks like: on the terminal, as text without colour, and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from camoe.config.experts import LETTERS, NAMES, ExpertsConfig, expert_labels
from camoe.tracking.bars import BLOCK, bar, expert_colours, marked_bar, stacked_bar, texture
from camoe.tracking.market_findings import findings_page
from camoe.tracking.named_values import named_values
from camoe.tracking.printable import printable
from camoe.tracking.short_number import short_number

WIDTH = 80
MODEL_COLOUR, OTHER_COLOUR = "#3fa66a", "grey58"
LONGEST_SAMPLE = 700


@dataclass(frozen=True, kw_only=True)
class MarketOutcome:
    """The economy at the end: capital_share [L][E], capital_gini [L], alpha [L].

    findings: what the market measured about itself, the last record that has it; empty where it measures nothing.
    """

    capital_share: Sequence[Sequence[float]]
    capital_gini: Sequence[float]
    alpha: Sequence[float]
    findings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Everything the summary shows.

    bpb, averaged_bpb, gzip_bpb, unigram_bpb: bits per byte of the same `scored_bytes` of held-out text. trans_share:
    [L] share of assignments that went to Transformer experts. load: [L][E] share of assignments. elapsed: seconds.
    """

    name: str
    run_folder: Path
    bpb: float
    gzip_bpb: float
    unigram_bpb: float
    scored_bytes: int
    steps: int
    tokens_seen: int
    n_params: int
    tokens_per_s: float
    elapsed: float
    flops_per_token: float
    not_causal: str = ""
    experts: ExpertsConfig
    load: Sequence[Sequence[float]]
    trans_share: Sequence[float]
    averaged_bpb: float | None = None
    market: MarketOutcome | None = None
    prompt: str = ""
    sample: str = ""
    mlflow_run_id: str | None = None
    mlflow_look: str | None = None

    @property
    def fair_trans_share(self) -> float:
        """Share of assignments that Transformer experts get from an even router."""
        return self.experts.transformer_prefix / self.experts.total


def print_summary(summary: RunSummary, console: Console) -> None:
    """Show it on a terminal, in colour where the terminal has any."""
    console.print(_page(summary, colour=console.color_system is not None))


def summary_text(summary: RunSummary) -> str:
    """Plain text of 80 columns."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    console.print(_page(summary, colour=False))
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def save_summary(summary: RunSummary, folder: Path) -> None:
    """Write summary.txt and summary.svg."""
    (folder / "summary.txt").write_text(summary_text(summary), encoding="utf-8")
    console = Console(file=io.StringIO(), width=WIDTH, record=True, force_terminal=True, color_system="truecolor")
    console.print(_page(summary, colour=True))
    svg = console.export_svg(title="camoe").replace("<svg ", '<svg xml:space="preserve" ', 1)  # keeps indentation
    (folder / "summary.svg").write_text(svg, encoding="utf-8")


def _page(summary: RunSummary, colour: bool) -> RenderableType:
    parts = [Rule(Text(f" {summary.name} ", style="bold"), style="grey50"), _totals(summary), _quality(summary)]
    if summary.not_causal:
        remark = f"router {summary.not_causal} reads ahead: these figures are an upper bound, never ranked"
        parts.insert(1, _heading("Non-causal", remark))
    parts += [_layers(summary, colour)]
    if summary.market and summary.market.findings:
        parts.append(findings_page(summary.market.findings))
    if summary.sample:
        parts.append(_sample(summary))
    parts.append(_where(summary))
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def _heading(text: str, remark: str = "") -> Text:
    return Text(text, style="bold").append(f"  {remark}", style="not bold grey58")


def _totals(summary: RunSummary) -> RenderableType:
    values = {
        "steps": f"{summary.steps:,}",
        "tokens": short_number(summary.tokens_seen),
        "parameters": short_number(summary.n_params),
        "FLOPs/token": short_number(summary.flops_per_token),
        "tokens/s": short_number(summary.tokens_per_s),
        "elapsed": str(timedelta(seconds=round(summary.elapsed))),
    }
    return named_values(values)


def _quality(summary: RunSummary) -> RenderableType:
    rows = [("this model", summary.bpb), ("gzip -9", summary.gzip_bpb), ("byte unigram", summary.unigram_bpb)]
    if summary.averaged_bpb is not None:
        rows.append(("averaged weights", summary.averaged_bpb))
    rows.sort(key=lambda row: row[1])
    largest = max(value for _, value in rows) or 1.0
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        ours = name == "this model"
        style = f"bold {MODEL_COLOUR}" if ours else ""
        grid.add_row(
            Text(f"  {name}", style=style),
            Text(f"{value:.4f}", style=style),
            bar(value / largest, 50, MODEL_COLOUR if ours else OTHER_COLOUR),
        )
    remark = f"{summary.scored_bytes:,} bytes of held-out text, less is better"
    return Group(_heading("Bits per byte", remark), grid)


def _layers(summary: RunSummary, colour: bool) -> RenderableType:
    """One row per layer: who served, who owns, how unequally, and how much the market is listened to."""
    colours = expert_colours(summary.experts.first_prefix, summary.experts.total)
    columns = [_layer_numbers(summary), *_transformer_use(summary, colours), *_owners(summary, colours, colour)]
    table = Table.grid(padding=(0, 2))
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return Group(_layers_heading(summary), table, _legend(summary, colours, colour))


def _layers_heading(summary: RunSummary) -> Text:
    kinds = summary.experts.counts(attention=False)
    remark = ", ".join(f"{LETTERS[kind]}: {NAMES[kind]} experts" for kind in kinds)
    share = f", ┃ their fair share: {summary.fair_trans_share:.0%}" if summary.fair_trans_share else ""
    return _heading("Layers", remark + share)


def _layer_numbers(summary: RunSummary) -> list[Text]:
    return _column("  layer", [Text(f"  L{layer:02d}") for layer in range(len(summary.load))])


def _transformer_use(summary: RunSummary, colours: Sequence[str]) -> list[list[Text]]:
    """A bar and a percentage, where there are Transformer experts."""
    if not summary.fair_trans_share:
        return []
    fair, colour = summary.fair_trans_share, colours[summary.experts.first_prefix]
    bars = [marked_bar(share, fair, 20, colour) for share in summary.trans_share]
    return [
        _column("Transformer use", bars),
        _column("", [Text(f"{share:4.0%}") for share in summary.trans_share]),
    ]


def _owners(summary: RunSummary, colours: Sequence[str], colour: bool) -> list[list[Text]]:
    """Capital with Gini and alpha; without a market, load."""
    market = summary.market
    shares = market.capital_share if market else summary.load
    columns = [
        _column(
            "capital by expert" if market else "load by expert",
            [stacked_bar(layer, colours, 22, colour) for layer in shares],
        )
    ]
    if market:
        columns.append(_column("Gini", [Text(f"{value:.2f}") for value in market.capital_gini]))
        columns.append(_column("alpha", [Text(f"{value:.3f}") for value in market.alpha]))
    return columns


def _column(header: str, cells: Sequence[Text]) -> list[Text]:
    return [Text(header, style="grey58"), *cells]


def _legend(summary: RunSummary, colours: Sequence[str], colour: bool) -> Text:
    text = Text("  experts  ", style="grey58")
    for index, label in enumerate(expert_labels(summary.experts)):
        text.append(BLOCK * 2 if colour else texture(index) * 2, style=colours[index]).append(
            f" {label}  ", style="grey58"
        )
    return text


def _sample(summary: RunSummary) -> RenderableType:
    shown = printable(summary.sample)[:LONGEST_SAMPLE].rstrip()
    text = Text(summary.prompt, style="bold").append(shown, style="not bold")
    return Group(_heading("Sampled continuation"), Padding(text, (0, 0, 0, 2)))


def _where(summary: RunSummary) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="grey58")
    grid.add_column(overflow="fold")
    grid.add_row("run folder", str(summary.run_folder))
    if summary.mlflow_run_id:
        grid.add_row("MLflow run", summary.mlflow_run_id)
    if summary.mlflow_look:
        grid.add_row("look", summary.mlflow_look)
    return grid
