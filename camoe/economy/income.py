"""How every economy's settlement begins: experts earn, and the rich are taxed."""

from __future__ import annotations

from camoe.config.economy import MoneyConfig
from camoe.economy import fiscal_policy
from camoe.economy.ledger import Ledger
from camoe.economy.market_state import MarketState
from camoe.economy.window_sums import WindowSums


def earn_and_tax(config: MoneyConfig, state: MarketState, sums: WindowSums) -> Ledger:
    """A ledger opened on the capital [L,E] with profit credited and the wealth tax debited (economy A.2, A.3)."""
    ledger = Ledger(state.capital)
    ledger.credit("profit", fiscal_policy.expert_profit(sums.served, sums.charged, state.baseline))
    tax = fiscal_policy.wealth_tax(
        ledger.balance,
        threshold=config.tax_threshold,
        rate=config.tax_rate,
        tax_negative_wealth=config.tax_negative_wealth,
    )
    ledger.debit("wealth_tax", tax)
    return ledger
