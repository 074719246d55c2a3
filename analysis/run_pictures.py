"""Every plot of one run, in the order of its page; what was not recorded says so."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.ledger_statement import statement_of
from analysis.picture import Picture, picture
from analysis.plots import (
    balance_over_time,
    capital_against,
    capital_and_credit,
    layer_map,
    lorenz,
    market_strength,
    share_map,
    training_curve,
    waterfall,
)
from analysis.plots.style import COLOURS, Array, expert_colours
from analysis.plots.training_signal import training_signal
from analysis.probe_pictures import probe_pictures
from analysis.run_files import NOTHING_BOOKED, read_ledger
from analysis.run_history import NotRecorded, RunHistory
from analysis.run_outline import RunOutline
from camoe.config import ConfigError
from camoe.config.experts import NAMES

KINDS = {"RWKV": COLOURS[0], "Transformer": COLOURS[1]}
KINDS |= {name: COLOURS[(2 + i) % len(COLOURS)] for i, name in enumerate(NAMES.values()) if name not in KINDS}
GATE = {
    "routing/gate_entropy_marginal": "entropy of the mean",
    "routing/gate_entropy_token": "entropy per token",
    "routing/topk_mass": "mass on winners",
    "routing/gate_mi": "mutual information",
}


def training_pictures(history: RunHistory) -> list[Picture]:
    """Loss, gradient norm, learning rates, speed."""
    return [
        picture(training_curve.TITLE, training_curve.HOW_TO_READ, lambda: _losses(history)),
        picture(
            "Gradient norm",
            "Global norm before clipping (log scale): spikes are steps that clipping tamed.",
            lambda: _signal(history, {"progress/grad_norm": "norm"}, "gradient norm", log=True),
        ),
        picture(
            "Learning rates",
            "By parameter group; a group at 0 is frozen in that phase.",
            lambda: _signal(history, _rates(history), "learning rate", smooth=False),
        ),
        picture(
            "Speed",
            "Training tokens per second; dips are evaluations, checkpoints or a busy machine.",
            lambda: _signal(history, {"time/tokens_per_s": "tokens/s"}, "tokens per second"),
        ),
    ]


def routing_pictures(run: RunOutline, history: RunHistory) -> list[Picture]:
    """Balance, who serves, how sure the gate is."""
    return [
        picture(balance_over_time.TITLE, balance_over_time.HOW_TO_READ, lambda: _balance(history)),
        picture(
            "The gate's decisiveness",
            "All from 0 to 1: a gate that specialises keeps the entropy of its mean high while the entropy per token "
            "falls; their difference is the mutual information of token and expert.",
            lambda: _signal(history, GATE, "share of the possible"),
        ),
        picture(
            "Load over time",
            share_map.OVER_TIME,
            lambda: _shares_over_time(run, history, "routing/load/by_expert"),
            wide=True,
        ),
        picture("Load at the end", share_map.AT_THE_END, lambda: _load_at_the_end(run, history)),
        picture(lorenz.TITLE, lorenz.HOW_TO_READ, lambda: _lorenz(history)),
        picture(layer_map.TITLE, layer_map.HOW_TO_READ, lambda: _transformer_share(run, history), wide=True),
        *probe_pictures(run, history),
    ]


def market_pictures(run: RunOutline, history: RunHistory) -> list[Picture]:
    """What the market did and whether it was right; [] for a run without one."""
    if not run.has_market:
        return []
    return [
        picture("Alpha", market_strength.ALPHA, lambda: _alpha(history)),
        picture("What the market is worth", market_strength.GAIN, lambda: _gain(run, history)),
        picture(capital_and_credit.TITLE, _credit_caption(history), lambda: _capital(run, history), wide=True),
        picture(
            "Capital over time",
            share_map.OVER_TIME,
            lambda: _shares_over_time(run, history, "market/capital_share/by_expert"),
            wide=True,
        ),
        picture("Capital against load", capital_against.AGAINST_LOAD, lambda: _capital_against_load(run, history)),
        picture(
            "Capital against credit", capital_against.AGAINST_CREDIT, lambda: _capital_against_credit(run, history)
        ),
        picture("The ledger", waterfall.HOW_TO_READ, lambda: _ledger(run), wide=True),
    ]


def _losses(history: RunHistory) -> Figure:
    tokens, loss = history.series("loss/language_model")
    try:
        valid_tokens, valid = history.series("valid/loss")
    except NotRecorded:
        valid_tokens = valid = np.empty(0)
    return training_curve.training_curve(tokens, loss, valid_tokens, valid, history.phases())


def _signal(
    history: RunHistory, names: dict[str, str], label: str, *, log: bool = False, smooth: bool = True
) -> Figure:
    frame = history.frame(*names).rename(columns=names).dropna(axis="columns", how="all")
    if frame.empty:
        raise NotRecorded(f"no training record has {', '.join(names) or 'a value'}")
    return training_signal(frame, label, history.phases(), log=log, smooth=smooth)


def _rates(history: RunHistory) -> dict[str, str]:
    """Groups whose rates are the same throughout share one line."""
    names = [name for name in (history.windows[-1] if history.windows else {}) if name.startswith("phase/lr_")]
    lines: dict[tuple[float, ...], list[str]] = {}
    for name in names:
        lines.setdefault(tuple(history.frame(name)[name]), []).append(name)
    return {same[0]: _group_names(same) for same in lines.values()}


def _group_names(names: list[str]) -> str:
    first, *others = (name.removeprefix("phase/lr_").replace("_", " ") for name in names)
    return f"{first} + {len(others)}" if others else first


def _balance(history: RunHistory) -> Figure:
    frame = history.frame(balance_over_time.MEAN, balance_over_time.WORST, balance_over_time.FLOOR)
    if frame.dropna(how="all").empty:
        raise NotRecorded("no training record has routing/maxvio_batch")
    return balance_over_time.balance_over_time(frame, history.phases())


def _shares_over_time(run: RunOutline, history: RunHistory, name: str) -> Figure:
    tokens, shares = history.series(name)
    return share_map.share_over_time(tokens, shares, run.expert_names(shares.shape[2]))


def _load_at_the_end(run: RunOutline, history: RunHistory) -> Figure:
    load = last_load(history)
    return share_map.share_at_the_end(load, run.expert_names(load.shape[1]))


def last_load(history: RunHistory) -> Array:
    """[L,E] over all of the held-out text; of a run that did not end, in its last evaluation or training window."""
    for name in ("final/load/by_expert", "valid/load/by_expert", "routing/load/by_expert"):
        found = history.last(name)
        if found is not None:
            return np.asarray(found, dtype=float)
    raise NotRecorded("no record has load/by_expert")


def _lorenz(history: RunHistory) -> Figure:
    amounts = {"load": last_load(history)}
    capital = history.last("market/capital_share/by_expert")
    if capital is not None:
        amounts["capital"] = np.asarray(capital, dtype=float)
    return lorenz.lorenz(amounts)


def _transformer_share(run: RunOutline, history: RunHistory) -> Figure:
    tokens, share = history.series("routing/trans_share/by_layer")
    n_expert = last_load(history).shape[1]
    fair = run.experts(n_expert).transformer_prefix / n_expert
    if not fair:
        raise NotRecorded("this run has no Transformer experts")
    return layer_map.layer_map(tokens, share, "percent of assignments", fair)


def _alpha(history: RunHistory) -> Figure:
    return market_strength.alpha_over_time(*history.series("market/alpha/by_layer"), history.phases())


def _gain(run: RunOutline, history: RunHistory) -> Figure:
    frame = history.frame(*market_strength.GAIN_NAMES).dropna()
    if frame.empty:
        raise NotRecorded(f"economy {run.economy} does not measure its own worth (calibrated does), or not yet")
    return market_strength.gain_over_time(frame, history.phases())


def _credit_caption(history: RunHistory) -> str:
    measured = history.has("market/credit/by_expert")
    return capital_and_credit.HOW_TO_READ if measured else capital_and_credit.HOW_TO_READ_WITHOUT_CREDIT


def _capital(run: RunOutline, history: RunHistory) -> Figure:
    tokens, capital = history.series("market/capital_share/by_expert")
    credit = None
    if history.has("market/credit/by_expert"):
        at, values = history.series("market/credit/by_expert")
        credit = (at, values, history.series("market/credit_error/by_expert")[1])
    n_expert = capital.shape[2]
    return capital_and_credit.capital_and_credit(
        tokens,
        capital,
        credit,
        run.expert_names(n_expert),
        expert_colours(run.experts(n_expert).first_prefix, n_expert),
    )


def _last_capital(history: RunHistory) -> Array:
    return history.series("market/capital_share/by_expert")[1][-1]


def _kinds(run: RunOutline, n_expert: int) -> list[str]:
    counts = run.experts(n_expert).counts(attention=False).items()
    return [NAMES[kind] for kind, count in counts for _ in range(count)]


def _capital_against_load(run: RunOutline, history: RunHistory) -> Figure:
    capital, load = _last_capital(history), last_load(history)
    return capital_against.capital_against(load, capital, capital_against.LOAD, _kinds(run, load.shape[1]), KINDS)


def _capital_against_credit(run: RunOutline, history: RunHistory) -> Figure:
    if not history.has("market/credit/by_expert"):
        raise NotRecorded(f"economy {run.economy} measures no credit (the calibrated one does)")
    capital, credit = _last_capital(history), history.series("market/credit/by_expert")[1][-1]
    error = history.series("market/credit_error/by_expert")[1][-1]
    kinds = _kinds(run, credit.shape[1])
    return capital_against.capital_against(credit, capital, capital_against.CREDIT, kinds, KINDS, error)


def _ledger(run: RunOutline) -> Figure:
    try:
        books = statement_of(read_ledger(run.folder))
    except ConfigError:
        raise NotRecorded(f"ledger.jsonl holds nothing: {NOTHING_BOOKED}") from None
    if not books.accounts:
        raise NotRecorded("no account ever held or moved anything")
    return waterfall.waterfall(books)
