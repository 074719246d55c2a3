"""What one settlement of the calibrated economy did, and how it left the market.

flows, money per settlement [L], named by their reason, at least 0 (see `Ledger` rows): log_tax and profit (between
experts), wealth_tax, idle_tax, venture_grant, venture_vest, floor, qe (moved or, with elastic money, created), qt_burn.
Of critics, in purse money: critic_score (net, either sign), critic_repay, critic_bailout.
residual: closing - opening - minted + burned, as a share of M. purse_residual: the same of purses, purse money.

metrics, [L] unless said otherwise:
  capital_share [L,E]; gini; frac_at_floor; money: sum C; treasury; vc_book: grants not yet vested; minted, burned:
  money since the start; profit_flow: sum |dC| by profit, money; selected_share [L,E]: share of the window's tokens.
  credit [L,E]: V_e, nats per served token; credit_error [L,E]: its standard error; merit [L,E]: pi_e;
  reliability: share of the variance of Pi_e between experts that is no error.
  spearman_credit, spearman_load: rank correlation over experts of capital with V_e and with the window's load, 0 where
  undefined. gain: of merit in capital.
  theta: nats per unit of bid; market_efficiency: correlation of theta (b - p) with the value; price_value_correlation:
  of theta p with it.
  alpha; agreement: share of tokens; agreement_kappa: beyond chance; gate_deviation: s_z.
  congestion_price [L,E]: lambda_e, bids; compute_price: mu, bids per kappa; flops_ratio: FLOPs per token over budget.
  holdout_gain: loss without minus with the market since the start, covariate-adjusted, nats per token;
  holdout_error: its standard error; holdout_sequences: held out so far; holdout_tau: standardised, over the horizon.
  baseline: mean token loss over the horizon; difficulty_r2.
  critic_purse, critic_debt (K0 = 1), critic_bailouts (count), critic_score: S before clipping, nats.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.config.calibrated import NET_CREDITS, CalibratedConfig
from camoe.economy.calibrated import alpha, capital, merit, price
from camoe.economy.calibrated.books import Books
from camoe.economy.calibrated.critic_market import PurseFlows
from camoe.economy.calibrated.rates import quotient
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.calibrated.window import WindowTotals
from camoe.economy.ledger import CLEARING, CRITICS, RESCUE, LedgerRow, either_way
from camoe.economy.market_report import MarketReport, fraction_at_floor, gini


class Outcome(NamedTuple):
    """What the laws of one settlement found."""

    totals: WindowTotals
    books: Books
    profits: merit.Profit
    purses: PurseFlows
    effect: alpha.Effect
    agreement: Tensor
    kappa: Tensor
    flops_ratio: Tensor


def report(config: CalibratedConfig, state: CalibratedState, outcome: Outcome) -> MarketReport:
    """Report of a settlement whose results `state` already holds."""
    purses = outcome.purses
    flows = {row.reason: row.amount for row in outcome.books.rows}
    flows |= {"critic_score": purses.earned, "critic_repay": purses.repaid, "critic_bailout": purses.bailout}
    metrics = {
        **_wealth(config, state, outcome),
        **_credit(config, state, outcome),
        **_control(state, outcome),
        **_critics(state, outcome),
    }
    by_layer = torch.zeros_like(state.alpha)
    return MarketReport(
        flows=flows,
        residual=outcome.books.residual(),
        purse_residual=purses.residual,
        # the state changes in place, a report must not
        metrics={name: (value if value.dim() else value + by_layer).clone() for name, value in metrics.items()},
        rows=(*outcome.books.rows, *_purse_rows(purses)) if config.ledger.kind == "rows" else (),
    )


def rank_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Spearman's correlation [L] of [L,E] and [L,E], equal values sharing their mean rank; 0 where one is constant."""

    def centred_ranks(values: Tensor) -> Tensor:
        larger = (values.unsqueeze(-1) - values.unsqueeze(-2)).sign().sum(-1)
        return larger / 2

    a, b = centred_ranks(x), centred_ranks(y)
    return quotient((a * b).sum(-1), (a.square().sum(-1) * b.square().sum(-1)).sqrt())


def _wealth(config: CalibratedConfig, state: CalibratedState, outcome: Outcome) -> dict[str, Tensor]:
    floor = config.floor.share * state.capital.mean(-1, keepdim=True) if config.floor.kind != "none" else 0.0
    flow = [row.amount for row in outcome.books.rows if row.reason == "profit"]
    totals = outcome.totals
    return {
        "capital_share": state.capital_share(),
        "gini": gini(state.capital),
        "frac_at_floor": fraction_at_floor(state.capital, floor),
        "money": state.capital.sum(-1),
        "treasury": state.treasury,
        "vc_book": state.grants.sum(-1),
        "minted": state.minted,
        "burned": state.burned,
        "profit_flow": 2 * torch.stack(flow).sum(0),
        "selected_share": quotient(totals.served, totals.tokens),
        "spearman_load": rank_correlation(state.capital, totals.served),
    }


def _credit(config: CalibratedConfig, state: CalibratedState, outcome: Outcome) -> dict[str, Tensor]:
    profits = outcome.profits
    net = config.credit.kind in NET_CREDITS
    by_surplus, by_price = price.efficiency(state.value_moments)
    return {
        "credit": profits.value,
        "credit_error": profits.value_error,
        "merit": merit.merit(profits),
        "reliability": profits.reliability.squeeze(-1),
        "gain": capital.gain(merit.clipped(profits.score), config.capital).squeeze(-1),
        "spearman_credit": rank_correlation(state.capital, profits.value),
        "theta": price.nats_per_logit(state.value_moments, net=net),
        "market_efficiency": by_surplus,
        "price_value_correlation": by_price,
    }


def _control(state: CalibratedState, outcome: Outcome) -> dict[str, Tensor]:
    total = alpha.holdout_effect(state.arms_total)
    return {
        "alpha": state.alpha,
        "agreement": outcome.agreement,
        "agreement_kappa": outcome.kappa,
        "gate_deviation": state.gate_deviation(),
        "congestion_price": state.congestion_toll(),
        "compute_price": state.bid_unit() * state.compute_price,
        "flops_ratio": outcome.flops_ratio,
        "holdout_gain": total.gain,
        "holdout_error": total.error,
        "holdout_sequences": total.sequences,
        "holdout_tau": outcome.effect.tau,
    }


def _critics(state: CalibratedState, outcome: Outcome) -> dict[str, Tensor]:
    return {
        "baseline": state.loss_mean(),
        "difficulty_r2": state.difficulty_r2(),
        "critic_purse": state.purse,
        "critic_debt": state.debt,
        "critic_bailouts": state.bailout_count,
        "critic_score": outcome.purses.score,
    }


def _purse_rows(purses: PurseFlows) -> tuple[LedgerRow, ...]:
    return (
        *either_way(CLEARING, CRITICS, purses.earned, "critic_score"),
        LedgerRow(CRITICS, RESCUE, purses.repaid, "critic_repay"),
        LedgerRow(RESCUE, CRITICS, purses.bailout, "critic_bailout"),
    )
