"""What one settlement did and how it left the market."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camoe.economy.alpha import agreement
from camoe.economy.ledger import BANK, CLEARING, CRITICS, EXPERTS, RESCUE, Ledger, LedgerRow, either_way
from camoe.economy.market_state import MarketState
from camoe.economy.window_sums import WindowSums

MINTED = ("qe_inject", "floor_mint", "vc_inject", "lift")
"""Flows from the bank to experts."""
BURNED = ("wealth_tax", "idle_tax", "depreciation", "qe_drain", "shrinkage")
"""Flows from experts to the bank."""


@dataclass(frozen=True, kw_only=True)
class MarketReport:
    """Detached tensors on the market's device, one value per layer unless said otherwise.

    flows, money per settlement, each with the sign of its name (float64):
      capital: profit (net), wealth_tax, idle_tax, depreciation, qe_inject, qe_drain, floor_mint (created by the floor's
      clamp), vc_inject; in v18 shrinkage and lift instead of the bank's two.
      critics: critic_profit (net), critic_clamp (created or confiscated by the purse's clamp), critic_repay,
      critic_bailout.
    residual: what these flows fail to explain of the capital, money.
    purse_residual: the same for the critics' purses.
    metrics:
      capital_share [L,E]: share of the layer's capital.      gini: of capital, 0 (equal) to 1 - 1/E.
      frac_at_floor: share of experts.                        money: sum of capital, money.
      selected_share [L,E]: share of the window's tokens.     profit_flow: sum |profit|, money.
      alpha: gate-score units per share of capital.           agreement: share of tokens.
      asset_velocity: share of the capital per settlement.    baseline: nats per token.
      critic_purse, critic_debt: purse money.                 critic_bailouts: count so far.
      critic_accuracy: share of positions, moving average.
    An economy without capital reports nothing.
    rows: the flows as transfers, unless the calibrated economy's ledger keeps totals only; its own flows and metrics
    are described in `camoe.economy.calibrated.report`.
    """

    flows: dict[str, Tensor] = field(default_factory=dict)
    residual: Tensor = field(default_factory=lambda: torch.zeros(0))
    purse_residual: Tensor = field(default_factory=lambda: torch.zeros(0))
    metrics: dict[str, Tensor] = field(default_factory=dict)
    rows: tuple[LedgerRow, ...] = ()


def gini(capital: Tensor) -> Tensor:
    """Gini coefficient [L] of capital [L,E]: mean absolute difference over twice the mean."""
    difference = (capital.unsqueeze(-1) - capital.unsqueeze(-2)).abs().sum((-1, -2))
    total = capital.sum(-1).clamp(min=torch.finfo(capital.dtype).tiny)
    return difference / (2 * capital.shape[-1] * total)


def fraction_at_floor(capital: Tensor, floor: float | Tensor) -> Tensor:
    """Share [L] of experts whose capital [L,E] is the floor (one, or [L,1]), to float32 rounding."""
    return (capital <= floor * (1 + 1e-6)).to(capital.dtype).mean(-1)


def close_books(state: MarketState, ledger: Ledger, purses: Ledger, sums: WindowSums, *, floor: float) -> MarketReport:
    """Report of a settlement whose results `state` already holds; `floor` is the capital floor in money."""
    metrics = {
        "capital_share": state.capital_share(),
        "gini": gini(state.capital),
        "frac_at_floor": fraction_at_floor(state.capital, floor),
        "money": state.capital.sum(-1),
        "alpha": state.alpha,
        "asset_velocity": state.asset_velocity,
        "baseline": state.baseline,
        "critic_purse": state.purse,
        "critic_debt": state.debt,
        "critic_bailouts": state.bailout_count,
        "critic_accuracy": state.accuracy,
        "agreement": agreement(sums),
        "selected_share": sums.selected_share,
        "profit_flow": ledger.turnover["profit"],
    }
    return MarketReport(
        flows=ledger.flows | purses.flows,
        residual=ledger.residual(state.capital),
        purse_residual=purses.residual(state.purse),
        # the state changes in place, a report must not
        metrics={name: value.clone() for name, value in metrics.items()},
        rows=published_rows(ledger.flows | purses.flows),
    )


def published_rows(flows: Mapping[str, Tensor]) -> tuple[LedgerRow, ...]:
    """The published economies' flows as transfers; they have no treasury, so taxes destroy money and ventures make it.

    Flows of either sign become one row for each direction.
    """
    rows: list[LedgerRow] = []
    for name, amount in flows.items():
        if name == "profit":
            rows += either_way(CLEARING, EXPERTS, amount, name)
        elif name in MINTED:
            rows.append(LedgerRow(BANK, EXPERTS, amount, name))
        elif name in BURNED:
            rows.append(LedgerRow(EXPERTS, BANK, amount, name))
        elif name == "critic_repay":
            rows.append(LedgerRow(CRITICS, RESCUE, amount, name))
        elif name == "critic_bailout":
            rows.append(LedgerRow(RESCUE, CRITICS, amount, name))
        else:  # critic_profit, critic_clamp
            rows += either_way(CLEARING, CRITICS, amount, name)
    return tuple(rows)
