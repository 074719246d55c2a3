"""The figures that one asks for first, with what gives them a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from analysis.page import MISSING, number, percent, short, signed
from analysis.run_history import TOKENS, RunHistory
from analysis.run_outline import RunOutline
from camoe.tracking.market_findings import RIGHTNESS


@dataclass(frozen=True)
class Figure:
    """A number to be read at once: what it is called, its metric's name for the definition, and a remark."""

    label: str
    value: str
    metric: str = ""
    remark: str = ""


@dataclass(frozen=True)
class ScaleBar:
    """Bits per byte of this model and of cheap predictors; `share` of the longest bar."""

    label: str
    bpb: float
    share: float
    ours: bool


def headline(run: RunOutline, history: RunHistory) -> list[Figure]:
    """Quality, cost, balance, and the market's worth; what a run does not have is left out."""
    return [*_quality(history), *_cost(run, history), *_balance(history), *_worth(history)]


def scale(history: RunHistory) -> list[ScaleBar]:
    """Best first; empty before the end of a run."""
    named = {
        "this model": "final/bpb",
        "averaged weights": "final_averaged/bpb",
        "gzip -9": "final/gzip_bpb",
        "byte unigram": "final/unigram_bpb",
    }
    known = {label: float(history.final[name]) for label, name in named.items() if name in history.final}
    longest = max(known.values(), default=0.0) or 1.0
    rows = sorted(known.items(), key=lambda row: row[1])
    return [ScaleBar(label, bpb, bpb / longest, label == "this model") for label, bpb in rows]


def correctness(history: RunHistory) -> list[Figure]:
    """Whether the market is right, as correlations that are means over layers; empty where it does not measure."""
    found = [(label, name, history.last(name)) for name, label in RIGHTNESS.items()]
    return [
        Figure(label.replace("~", "and"), signed(value, 2), name) for label, name, value in found if value is not None
    ]


def _quality(history: RunHistory) -> Iterator[Figure]:
    room = "final" if "final/bpb" in history.final else "valid"
    remark = f"{number(history.last(f'{room}/bytes'))} bytes held out"
    if room == "valid":
        remark += ", the last evaluation so far"
    bpb, loss = history.last(f"{room}/bpb"), history.last(f"{room}/loss")
    if bpb is not None:
        yield Figure("bits per byte", f"{bpb:.4f}", f"{room}/bpb", remark)
    if loss is not None:
        perplexity = history.last(f"{room}/ppl")
        yield Figure("held-out loss", f"{loss:.4f}", f"{room}/loss", f"nats/token, perplexity {number(perplexity)}")


def _cost(run: RunOutline, history: RunHistory) -> Iterator[Figure]:
    if not history.windows:
        return
    last = history.windows[-1]
    yield Figure("tokens", short(last[TOKENS]), TOKENS, f"{last['step']:,} steps")
    if size := run.choices.get("parameters"):
        total, _, rest = size.partition(" ")
        active = rest.strip("()").split(" ")[0]
        yield Figure("parameters", short(_whole(total)), "", f"{short(_whole(active))} active for a token")
    name = "final/flops_per_token" if "final/flops_per_token" in history.final else "routing/flops_per_token"
    if (flops := history.last(name)) is not None:
        yield Figure("FLOPs per token", short(flops), name, "forward, by who served")
    speeds = sorted(record["time/tokens_per_s"] for record in history.windows if "time/tokens_per_s" in record)
    if speeds:
        remark = f"median, {_duration(history)}"
        yield Figure("tokens per second", short(speeds[len(speeds) // 2]), "time/tokens_per_s", remark)


def _balance(history: RunHistory) -> Iterator[Figure]:
    room = "final" if "final/maxvio_global" in history.final else "valid"
    names = {"MaxVio": "maxvio_global", "dead experts": "dead_experts", "Transformer share": "trans_share"}
    values = {label: history.last(f"{room}/{name}") for label, name in names.items()}
    worst = history.last(f"{room}/maxvio_global/worst")
    if values["MaxVio"] is not None:
        remark = f"mean of layers, worst {number(worst, 3)}; 0 is balance"
        yield Figure("MaxVio", number(values["MaxVio"], 3), f"{room}/maxvio_global", remark)
        dead = history.last(f"{room}/dead_experts/by_layer")
        total = MISSING if dead is None else f"{sum(dead):.0f}"
        yield Figure("dead experts", total, f"{room}/dead_experts", "of all layers")
    if (share := values["Transformer share"]) is not None:
        yield Figure("Transformer share", percent(share, 1), f"{room}/trans_share", "of assignments")


def _worth(history: RunHistory) -> Iterator[Figure]:
    gain = history.last("market/holdout_gain")
    if gain is not None:
        low, high = (signed(history.last(f"market/holdout_{end}")) for end in ("low", "high"))
        remark = f"nats/token saved; 95 %: {low} to {high}"
        yield Figure("market's worth", signed(gain), "market/holdout_gain", remark)


def _duration(history: RunHistory) -> str:
    """From the first record to the last, by the clock; a pause between two processes counts."""
    ends: list[Any] = [record.get("time/unix") for record in (history.windows[0], history.final or history.windows[-1])]
    return MISSING if None in ends else f"{timedelta(seconds=round(ends[1] - ends[0]))} in all"


def _whole(text: str) -> float | None:
    digits = text.replace(",", "")
    return float(digits) if digits.isdigit() else None
