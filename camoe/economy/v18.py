"""The arithmetic of CaMoE v18 (economy A.11): profit, progressive tax, a blunt control of money, floor.

Its alpha is fixed and its critics only subsidise bids: nothing settles their positions, so that a purse stays at K0.
"""

from __future__ import annotations

from camoe.config.economy import V18Config
from camoe.economy import fiscal_policy, monetary_policy
from camoe.economy.income import earn_and_tax
from camoe.economy.ledger import Ledger
from camoe.economy.market_report import MarketReport, close_books
from camoe.economy.market_state import MarketState
from camoe.economy.settlement_window import SettlementWindow
from camoe.economy.window_sums import WindowSums, measure_window
from camoe.kernels.ranks import Ranks


def settle(config: V18Config, state: MarketState, window: SettlementWindow, ranks: Ranks) -> MarketReport:
    """One settlement of all layers; changes `state` only, and is the same in every phase."""
    sums = measure_window(window.counted(mask_padding=config.mask_padding), ranks)
    state.track_loss(sums)
    floor = fiscal_policy.capital_floor(config.total_capital, state.n_expert, config.min_capital_share)
    ledger = _settle_capital(config, state, sums, floor)
    return close_books(state, ledger, Ledger(state.purse), sums, floor=floor)


def _settle_capital(config: V18Config, state: MarketState, sums: WindowSums, floor: float) -> Ledger:
    ledger = earn_and_tax(config, state, sums)
    before_control = ledger.balance
    ledger.debit("shrinkage", monetary_policy.shrinkage(before_control, config))
    ledger.credit("lift", monetary_policy.lift(before_control, config))
    ledger.credit("floor_mint", fiscal_policy.floor_mint(ledger.balance, floor))
    state.track_flow(ledger.turnover["profit"], ledger.balance.sum(-1))
    state.capital.copy_(ledger.balance)
    return ledger
