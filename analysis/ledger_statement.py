"""The market's books by period: what every account had, got, gave, and has."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.run_files import LedgerFile
from camoe.config import ConfigError

OPENING, CLOSING = "opening", "closing"
ABOUT = {
    "experts": "capital of all experts of a layer",
    "treasury": "taxes not yet granted",
    "ventures": "grants not yet vested",
    "critics": "purses, in money of their own",
}
WITHIN = "moved from expert to expert, which nets to nothing"
PERIODS = 10  # where the user names no length


@dataclass(frozen=True)
class Statement:
    """Books of a run, or of one layer.

    accounts: account -> frame with a row per period, indexed by the tokens at its end; columns opening, one signed
    column for each reason that moved the account's money, and closing. within: money that the members of an account
    paid each other, by "account reason"; it nets to nothing. by_layer: account -> the whole run, a row per layer.
    unexplained: account -> largest |closing - opening - entries| of a log window and layer, over the largest balance.
    """

    title: str
    layer: int | None
    accounts: dict[str, pd.DataFrame]
    within: pd.DataFrame
    by_layer: dict[str, pd.DataFrame]
    unexplained: dict[str, float]


def statement_of(ledger: LedgerFile, *, layer: int | None = None, every: int | None = None) -> Statement:
    """Statement of all layers together or of one, in periods of `every` tokens, or a tenth of the run.

    A log window belongs to the period in which it ends. Accounts that never held or moved anything are left out.
    """
    balances, entries = ledger.balances, ledger.entries
    layers = balances["layer"].max() + 1
    if layer is not None:
        if not 0 <= layer < layers:
            raise ConfigError(f"--layer: {layer}; this run has layers 0 to {layers - 1}")
        balances, entries = balances[balances["layer"] == layer], entries[entries["layer"] == layer]
    length = every or max(1, -(-int(balances["tokens"].max()) // PERIODS))
    balances, entries = _dated(balances, length), _dated(entries, length)
    names = [name for name in balances["account"].unique() if _used(name, balances, entries)]
    accounts = {name: _account(name, balances, entries, "period") for name in names}
    return Statement(
        title=ledger.name if layer is None else f"{ledger.name}, layer {layer}",
        layer=layer,
        accounts=accounts,
        within=_within(entries, accounts[names[0]].index if names else pd.Index([])),
        by_layer={name: _account(name, balances, entries, "layer") for name in names},
        unexplained={name: _unexplained(name, balances, entries) for name in names},
    )


def _dated(rows: pd.DataFrame, length: int) -> pd.DataFrame:
    """With the period of each row, named by the tokens of the last log window in it."""
    number = (rows["tokens"] - 1) // length
    return rows.assign(period=rows.groupby(number)["tokens"].transform("max"))


def _used(account: str, balances: pd.DataFrame, entries: pd.DataFrame) -> bool:
    own = balances[balances["account"] == account]
    held = own[[OPENING, CLOSING]].to_numpy().any()
    moved = entries[(entries["source"] == account) | (entries["target"] == account)]
    return bool(held or moved["amount"].any())


def _account(account: str, balances: pd.DataFrame, entries: pd.DataFrame, by: str) -> pd.DataFrame:
    """Rows by period or by layer."""
    own = balances[balances["account"] == account]
    ends = own.groupby([by, "window"])[[OPENING, CLOSING]].sum().groupby(level=by)
    moved = entries[(entries["source"] == account) != (entries["target"] == account)]
    reasons = _signed(account, moved).groupby([moved[by], moved["reason"]]).sum().unstack(fill_value=0)
    frame = reasons.reindex(columns=_reasons(moved)).reindex(ends[OPENING].first().index, fill_value=0.0)
    frame.insert(0, OPENING, ends[OPENING].first())
    frame[CLOSING] = ends[CLOSING].last()
    frame.columns.name = None
    return frame


def _within(entries: pd.DataFrame, periods: pd.Index) -> pd.DataFrame:
    inner = entries[entries["source"] == entries["target"]]
    frame = inner.groupby(["period", "reason"])["amount"].sum().unstack(fill_value=0)
    frame.columns.name = None
    return frame.reindex(columns=_reasons(inner)).reindex(periods, fill_value=0.0)


def _reasons(entries: pd.DataFrame) -> list[str]:
    """Those that moved anything, in the order of a settlement."""
    moved = set(entries["reason"][entries["amount"] != 0])
    return [reason for reason in dict.fromkeys(entries["reason"]) if reason in moved]


def _unexplained(account: str, balances: pd.DataFrame, entries: pd.DataFrame) -> float:
    """Largest gap within a window or between two, of any layer, over the largest balance of a layer."""
    own = balances[balances["account"] == account].set_index(["layer", "window"]).sort_index()
    moved = _signed(account, entries).groupby([entries["layer"], entries["window"]]).sum()
    within = own[CLOSING] - own[OPENING] - moved.reindex(own.index, fill_value=0.0)
    between = own[OPENING] - own.groupby(level="layer")[CLOSING].shift().fillna(own[OPENING])
    gap, scale = max(within.abs().max(), between.abs().max()), own[[OPENING, CLOSING]].abs().to_numpy().max()
    return float(gap / scale) if scale else float(gap)


def _signed(account: str, entries: pd.DataFrame) -> pd.Series:
    """Amounts as the account sees them; 0 where it is not concerned, or on both sides."""
    came, went = entries["target"] == account, entries["source"] == account
    return entries["amount"] * (came.astype(int) - went.astype(int))
