"""A comparison on the terminal: quality, balance and cost, the differences of single seeds, and the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from analysis.comparison import BETTER, DIVERGED, NOT_COMPARABLE, REFERENCE, WORSE, Comparison
from analysis.comparison_notes import UNEQUAL
from analysis.verdict import verdict_in_words
from camoe.tracking.short_number import short_number

NOTHING = "-"
MARKET = (
    "at the last record; ~: Spearman over the experts of a layer, mean over layers; "
    "gain: nats per token saved on sequences held out of the market"
)
HeadedTable = tuple[str, str, Table]
STYLES = {BETTER: "bold green", WORSE: "bold red", DIVERGED: "bold red", NOT_COMPARABLE: "red", REFERENCE: "grey58"}


def comparison_page(found: Comparison) -> RenderableType:
    """Everything a reader needs, from top to bottom; what is not known is a dash."""
    parts: tuple[RenderableType, ...] = (
        Rule(f"Comparison of {found.name}", style="grey50"),
        Text(rule_of_judgement(found), style="grey58"),
        *map(_note, found.notes),
    )
    return Group(*parts, *(Padding(_headed(*table), (1, 0, 0, 0)) for table in comparison_tables(found)))


def comparison_tables(found: Comparison) -> list[HeadedTable]:
    """Name, remark and table; those of which there is nothing to show are left out."""
    rows = arm_rows(found)
    tables: list[HeadedTable] = [
        ("Quality", f"mean ± s.d. over seeds; {found.better} {found.metric} is better", _quality(found, rows)),
        ("Balance and cost", "a uniformly random router shows (chance)", _cost(found, rows)),
    ]
    if len(found.market):
        tables.append(("Does capital follow merit?", MARKET, _market(found)))
    if len(found.pairs):
        remark = f"{found.metric}, arm minus {found.reference}"
        tables.append(("Differences seed by seed", remark, _seeds(found)))
    return [*tables, ("Was the plan followed?", "", _plan(found))]


def arm_rows(found: Comparison) -> list[dict[str, Any]]:
    """`Comparison.arms` row by row, with the arm's label as `arm`."""
    return [{str(name): value for name, value in row.items()} for row in found.arms.reset_index().to_dict("records")]


def margin_in_words(found: Comparison) -> str:
    """The margin with its unit, and what it was converted from."""
    if found.margin != found.margin:  # NaN: no run tells its bytes per token yet
        return f"{found.plan.margin:g} nats/token"
    own = f"{found.margin:.4g} {found.unit}"
    return own if found.margin == found.plan.margin else f"{own} ({found.plan.margin:g} nats/token)"


def difference_in_words(arm: Mapping[str, Any]) -> str:
    """-0.0123 [-0.0200, -0.0046], as far as it is known."""
    if arm["difference"] != arm["difference"]:
        return NOTHING
    known = arm["low"] == arm["low"]
    return f"{arm['difference']:+.4f}" + (f" [{arm['low']:+.4f}, {arm['high']:+.4f}]" if known else "")


def rule_of_judgement(found: Comparison) -> str:
    """Metric, reference, margin, level and correction, in a line."""
    return (
        f"{found.metric} against {found.reference}; margin {margin_in_words(found)}; "
        f"{found.level:.0%} intervals; Holm over {len(found.arms) - 1} arms"
    )


def _note(text: str) -> Text:
    return Text(f"! {text}", style="bold yellow" if text.startswith(UNEQUAL) else "yellow")


def _headed(name: str, remark: str, table: Table) -> Group:
    return Group(Text(name, style="bold").append(f"  {remark}", style="not bold grey58"), table)


def _quality(found: Comparison, rows: Sequence[Mapping[str, Any]]) -> Table:
    interval = f"difference [{found.level:.0%} interval]"
    others = [] if found.metric in ("final/bpb", "final/loss") else [found.metric]
    by_text = ["s.e. of text"] if found.arms["bpb_error"].notna().any() else []
    table = _table("arm", "n", *others, "bits/byte", *by_text, "nats/token", interval, "p (Holm)", "verdict")
    for arm in rows:
        table.add_row(
            arm["arm"],
            f"{arm['n']}",
            *([_spread(arm["mean"], arm["sd"])] if others else []),
            _spread(arm["bpb"], arm["bpb_sd"]),
            *([_plain(arm["bpb_error"], 4)] if by_text else []),
            _spread(arm["loss"], arm["loss_sd"]),
            difference_in_words(arm),
            _p(arm["p_holm"]),
            Text(verdict_in_words(arm, "the margin"), style=STYLES.get(arm["verdict"], "")),
        )
    return table


def _cost(found: Comparison, rows: Iterable[Mapping[str, Any]]) -> Table:
    table = _table(
        "arm", "MaxVio global", "(chance)", "MaxVio batch", "(chance)", "dead experts", "FLOPs/token", "of ref.",
        "tokens/s", "diverged", f"{found.level:.0%} of rate",
    )  # fmt: skip
    for arm in rows:
        table.add_row(
            arm["arm"],
            *(_plain(arm[f"maxvio_{scope}"], 3) for scope in ("global", "global_chance", "batch", "batch_chance")),
            _plain(arm["dead_experts"], 2),
            _short(arm["flops_per_token"]),
            _plain(arm["flops_ratio"], 3),
            _short(arm["tokens_per_s"]),
            f"{arm['diverged']} of {arm['planned'] - arm['missing']}",
            f"{arm['diverged_low']:.0%} to {arm['diverged_high']:.0%}" if arm["diverged_low"] >= 0 else NOTHING,
        )
    return table


def _market(found: Comparison) -> Table:
    names = ("capital_credit", "capital_load", "holdout_gain")
    table = _table("arm", "n", "capital ~ credit", "capital ~ load", "hold-out gain")
    for arm, own in found.market.groupby("arm", sort=False):
        cells = [_spread(own[name].mean(), own[name].std(ddof=1)) for name in names]
        table.add_row(str(arm), f"{len(own)}", *cells)
    return table


def _seeds(found: Comparison) -> Table:
    pairs = found.pairs.assign(seed=_seed_names(found.pairs))
    seeds = list(dict.fromkeys(pairs.sort_values(["seed_init", "seed_data"])["seed"]))
    table = _table("arm", *(f"seed {seed}" for seed in seeds))
    for arm in found.arms.index[1:]:
        own = pairs[pairs["arm"] == arm].set_index("seed")["difference"]
        table.add_row(arm, *(f"{own[seed]:+.4f}" if seed in own else NOTHING for seed in seeds))
    return table


def _seed_names(pairs: pd.DataFrame) -> list[str]:
    return [
        f"{init}" if init == data else f"{init}/{data}"
        for init, data in zip(pairs["seed_init"], pairs["seed_data"], strict=True)
    ]


def _plan(found: Comparison) -> Table:
    table = _table("", "planned", "found", "")
    for row in found.plan_followed.to_dict("records"):
        mark = Text("yes", style="green") if row["followed"] else Text("no", style="bold red")
        table.add_row(row["item"].replace("_", " "), row["planned"], row["found"], mark)
    for column in table.columns:
        column.justify = "left"
    return table


def _table(first: str, *names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="grey58", pad_edge=False, padding=(0, 1))
    table.add_column(first, overflow="fold")
    for name in names:
        table.add_column(name, justify="left" if name == "verdict" else "right", overflow="fold")
    return table


def _spread(mean: float, sd: float) -> str:
    return NOTHING if mean != mean else f"{mean:.4f}" + (f" ± {sd:.4f}" if sd == sd else "")


def _plain(value: float, digits: int) -> str:
    return NOTHING if value != value else f"{value:.{digits}f}"


def _short(value: float) -> str:
    return NOTHING if value != value else short_number(value)


def _p(value: float) -> str:
    return NOTHING if value != value else (f"{value:.4f}" if value >= 1e-4 else "< 0.0001")
