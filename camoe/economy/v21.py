"""The published arithmetic of CaMoE v21.1, in its order (economy A.2 to A.10)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from camoe.config.economy import V21Config
from camoe.economy import bailout, fiscal_policy, monetary_policy
from camoe.economy.alpha import adapted_alpha, agreement
from camoe.economy.arithmetic import moving_average
from camoe.economy.critic_settlement import PositionSums, SettlementTerms, learning_bonus, measure_positions
from camoe.economy.income import earn_and_tax
from camoe.economy.ledger import Ledger
from camoe.economy.market_report import MarketReport, close_books
from camoe.economy.market_state import MOMENTUM, MarketState
from camoe.economy.restructuring import donor_weights, restructure, seen_in_order
from camoe.economy.settlement_window import SettlementWindow
from camoe.economy.venture_capital import venture_grants
from camoe.economy.window_sums import WindowSums, measure_window
from camoe.kernels.ranks import Ranks

CRITICWARM = "criticwarm"


def settle(
    config: V21Config,
    state: MarketState,
    window: SettlementWindow,
    critics: Sequence[nn.Module],
    phase_name: str,
    ranks: Ranks,
) -> MarketReport:
    """One settlement of all layers; changes `state`, and the parameters of critics that are bankrupt."""
    records = window.counted(mask_padding=config.mask_padding)
    sums = measure_window(records, ranks)
    performance_before, purse_before = state.performance_ema.clone(), state.purse.clone()

    state.track_loss(sums)
    capital = _settle_capital(config, state, sums)
    state.alpha.copy_(adapted_alpha(state.alpha.double(), agreement(sums), config))

    signal = state.track_critic_loss(sums, config.critic_bonus_ema_momentum)
    terms = settlement_terms(config, signal, warming=phase_name == CRITICWARM)
    positions = measure_positions(records, state.baseline, sums.mean_loss, sums.loss_deviation, terms, ranks)
    purses, bankrupt = _settle_purses(config, state, positions, terms)

    performance = seen_in_order(performance_before, state.performance_ema)
    donors = donor_weights(performance, seen_in_order(purse_before, state.purse), config.donor_topk)
    restructure(critics, bankrupt, donors, config.restructure_alpha)
    return close_books(state, capital, purses, sums, floor=floor_of(config, state))


def floor_of(config: V21Config, state: MarketState) -> float:
    """F = M * max(base_compute_floor_ratio, min_capital_share) / E, money."""
    share = max(config.base_compute_floor_ratio, config.min_capital_share)
    return fiscal_policy.capital_floor(config.total_capital, state.n_expert, share)


def settlement_terms(config: V21Config, signal: Tensor, *, warming: bool) -> SettlementTerms:
    """Terms of the critics' settlement; warming up scales reward and penalty and pays for improvement."""
    return SettlementTerms(
        reward=config.criticwarm_reward_scale if warming else 1.0,
        penalty=config.criticwarm_penalty_scale if warming else 1.0,
        commission=config.base_commission,
        bonus=learning_bonus(
            signal,
            scale=config.critic_bonus_scale if warming else 0.0,
            low=config.critic_bonus_low,
            high=config.critic_bonus_high,
        ),
        dividend_scale=config.dividend_scale,
        dividend_std_factor=config.dividend_std_factor,
        bid_scale=config.critic.bid_scale,
    )


def _settle_capital(config: V21Config, state: MarketState, sums: WindowSums) -> Ledger:
    """Economy A.2 to A.7: profit, taxes, bank, floor, ventures."""
    ledger = earn_and_tax(config, state, sums)

    selection = moving_average(state.selection_ema.double(), sums.selected_share, MOMENTUM)
    idle = fiscal_policy.idle_tax(ledger.balance, selection, threshold=config.idle_threshold, rate=config.idle_tax_rate)
    ledger.debit("idle_tax", idle)
    ledger.debit("depreciation", fiscal_policy.depreciation(ledger.balance, config.depreciation_rate))

    floor, before_bank = floor_of(config, state), ledger.balance
    ledger.credit("qe_inject", monetary_policy.quantitative_easing(before_bank, floor, config))
    ledger.debit("qe_drain", monetary_policy.quantitative_tightening(before_bank, config))
    ledger.credit("floor_mint", fiscal_policy.floor_mint(ledger.balance, floor))

    state.track_flow(ledger.turnover["profit"], ledger.balance.sum(-1))
    grants = venture_grants(ledger.balance, sums.selected_share, sums.mean_trust, config)
    ledger.credit("vc_inject", grants)
    state.capital.copy_(ledger.balance)
    state.selection_ema.copy_(selection)
    return ledger


def _settle_purses(
    config: V21Config, state: MarketState, positions: PositionSums, terms: SettlementTerms
) -> tuple[Ledger, Tensor]:
    """Economy A.8 and A.9: positions, repayment, bailout; also says who was bankrupt, [L] bool."""
    ledger = Ledger(state.purse)
    ledger.credit("critic_profit", positions.profit(terms))
    clamped = bailout.clamped_purse(ledger.balance, config.critic.init_capital)
    ledger.credit("critic_clamp", clamped - ledger.balance)
    repaid = bailout.repayment(ledger.balance, state.debt.double(), config)
    ledger.debit("critic_repay", repaid)
    bankrupt = bailout.is_bankrupt(ledger.balance, config)
    rescue = bailout.bailout(bankrupt, state.bailout_count.double(), config)
    ledger.credit("critic_bailout", rescue)

    state.purse.copy_(ledger.balance)
    state.debt.copy_(state.debt.double() - repaid + rescue)
    state.bailout_count.add_(bankrupt)
    state.accuracy.copy_(positions.updated_accuracy(state.accuracy.double()))
    return ledger, bankrupt
