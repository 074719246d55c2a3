"""One settlement of the calibrated economy (B5), in its order: each law says what changes, this file applies it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated import alpha, central_bank, compute_price, congestion, critic_market, placebo, ventures
from camoe.economy.calibrated import capital as wealth
from camoe.economy.calibrated.books import Books
from camoe.economy.calibrated.floor import water_filled
from camoe.economy.calibrated.idle_tax import idle_tax, is_idle
from camoe.economy.calibrated.merit import Profit, clipped, merit, outlook, profit
from camoe.economy.calibrated.report import Outcome, report
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.calibrated.statistics import remember
from camoe.economy.calibrated.wealth_tax import wealth_tax
from camoe.economy.calibrated.window import CalibratedWindow, WindowTotals
from camoe.economy.market_report import MarketReport
from camoe.kernels.ranks import Ranks


def settle(
    config: CalibratedConfig,
    state: CalibratedState,
    window: CalibratedWindow,
    critics: Sequence[nn.Module],
    ranks: Ranks,
) -> MarketReport:
    """One settlement of all layers; changes `state`, and the parameters of critics that are bankrupt."""
    window.sum_over(ranks)
    charged = state.congestion_toll()  # before the unit of bids moves
    totals = remember(config, state, window)
    agreed, kappa = alpha.agreement(totals.agreed, totals.gate_favourite, totals.market_favourite)
    effect = alpha.holdout_effect(state.arms)
    state.alpha.copy_(alpha.updated(config.alpha, state.alpha, effect, kappa, totals.tokens))
    flops_ratio = _move_tolls(config, state, window, totals, charged)

    profits = profit(state.credit, state.credit_squares, config.credit.prior_tokens)
    log_belief = critic_market.forecast(totals.affinity, totals.tokens)
    scores = critic_market.score(log_belief, state.capital_share(), outlook(profits))
    scores = torch.where(state.credit[1].sum(-1) > 0, scores, 0)  # nothing credited, nothing foretold
    books = _settle_wealth(config, state, totals.tokens, profits, log_belief.exp())
    purses = critic_market.settle_purses(config.critic, state, scores, totals.tokens, critics)
    books.close(state)
    return report(config, state, Outcome(totals, books, profits, purses, effect, agreed, kappa, flops_ratio))


def _move_tolls(
    config: CalibratedConfig, state: CalibratedState, window: CalibratedWindow, totals: WindowTotals, charged: Tensor
) -> Tensor:
    """Congestion and compute prices; F / B, []."""
    congestion.update(config.congestion, state, totals.served, totals.tokens, window.bids, charged)
    ratio = compute_price.flops_ratio(config.compute, state, totals.served, totals.tokens)
    state.compute_price.copy_(compute_price.updated(config.compute, state, ratio, totals.tokens))
    return ratio


def _settle_wealth(
    config: CalibratedConfig, state: CalibratedState, tokens: Tensor, profits: Profit, belief: Tensor
) -> Books:
    """Merit, taxes, ventures, floor and bank, on books that `state` does not have yet."""
    books = Books(state)
    _reward(config, books, tokens, profits)
    _tax_and_venture(config, state, books, tokens, belief)
    if config.floor.kind == "water_filling":
        books.redistribute("floor", water_filled(books.capital, config.floor.share))
    if config.bank.kind == "entropy":
        _bank(config, books, tokens)
    if config.placebo.kind == "frozen":
        books.void(placebo.begun(config.placebo, state), state)
    return books


def _reward(config: CalibratedConfig, books: Books, tokens: Tensor, profits: Profit) -> None:
    merits, gain = merit(profits), wealth.gain(clipped(profits.score), config.capital)
    if config.capital.kind == "additive":
        books.redistribute("profit", wealth.added(books.capital, merits, gain, tokens, config.capital.half_life))
        return
    share = books.capital / books.capital.sum(-1, keepdim=True)
    half_life = central_bank.tax_half_life(share, config.capital.tax_half_life, config.bank)
    books.redistribute("log_tax", wealth.log_taxed(books.capital, tokens, half_life))
    books.redistribute("profit", wealth.grown(books.capital, merits, gain, tokens, config.capital.half_life))


def _tax_and_venture(
    config: CalibratedConfig, state: CalibratedState, books: Books, tokens: Tensor, belief: Tensor
) -> None:
    if config.wealth_tax.kind == "threshold":
        books.collect("wealth_tax", wealth_tax(books.capital, books.money(), tokens, config.wealth_tax))
    idle = is_idle(state.load, config.idle_tax)
    if config.idle_tax.kind == "venture_pot":
        books.collect("idle_tax", idle_tax(books.capital, idle, tokens, config.idle_tax))
    if config.ventures.kind == "critic":
        books.vest("venture_vest", ventures.vested(books.grants, tokens, config.ventures))
        share = books.capital / books.capital.sum(-1, keepdim=True)
        grants = ventures.new_grants(books.treasury, books.grants, belief, share, idle, books.money(), config.ventures)
        books.grant("venture_grant", grants)


def _bank(config: CalibratedConfig, books: Books, tokens: Tensor) -> None:
    total = books.capital.sum(-1, keepdim=True)
    share = books.capital / total
    r = central_bank.mixing_share(share, config.bank.entropy_min)
    if config.bank.money == "conserved":
        books.redistribute("qe", total * central_bank.mixed(share, r))
        return
    books.mint("qe", central_bank.new_money(books.capital, r))
    first = config.capital.money_per_expert * books.capital.shape[-1]
    half_life = config.capital.tax_half_life
    books.burn("qt_burn", central_bank.excess_money(books.capital, books.money(), first, tokens, half_life))
