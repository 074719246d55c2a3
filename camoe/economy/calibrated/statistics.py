"""Running sums over a horizon of tokens: what was is kept in part, and the window is added."""

from __future__ import annotations

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated.rates import kept
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.calibrated.window import CalibratedWindow, WindowTotals

OF_BIDS = (
    "tokens",
    "loss",
    "loss_square",
    "target",
    "gate_std",
    "difficulty",
    "difficulty_square",
    "residual",
)


def remember(config: CalibratedConfig, state: CalibratedState, window: CalibratedWindow) -> WindowTotals:
    """Update every running sum of `state` by the window, whose sums are returned."""
    totals, credit = window.totals, window.credit
    assert totals is not None, "the window is summed over ranks first"
    assert credit is not None, "the window is summed over ranks first"
    n = totals.tokens
    for name in OF_BIDS:
        getattr(state, name).mul_(kept(n, config.bid.half_life)).add_(getattr(totals, name))
    state.load.mul_(kept(n, config.idle_tax.load_half_life)).add_(totals.served)
    staying = kept(n, config.alpha.half_life)
    state.arms.mul_(staying)
    state.arms[:, -1].mul_(staying)  # squares of weights
    state.arms.add_(totals.arms)
    state.arms_total.add_(totals.arms)
    state.credit.mul_(kept(n, config.credit.half_life))
    state.credit_squares.mul_(kept(n, config.credit.half_life) ** 2)
    state.value_moments.mul_(kept(n, config.price.half_life))
    state.credit.add_(credit.credit)
    state.credit_squares.add_(credit.squares)
    state.value_moments.add_(credit.moments)
    state.tokens_settled.add_(n)
    state.settlements.add_(1)
    return totals
