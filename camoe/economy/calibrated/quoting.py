"""What the calibrated market tells routers and critics between two settlements."""

from __future__ import annotations

from torch import Tensor

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated import merit, placebo, ventures
from camoe.economy.calibrated.bid import CalibratedQuote
from camoe.economy.calibrated.state import CalibratedState


def quote(config: CalibratedConfig, state: CalibratedState, layer: int) -> CalibratedQuote:
    """What one layer's election needs to know."""
    share = placebo.quoted_share(config.placebo, state)[layer]
    applied = placebo.applied(config.placebo, state)
    return CalibratedQuote(
        wealth=applied * state.alpha[layer] * (share * state.n_expert).log(),
        subsidy=applied * ventures.subsidy(config.ventures, state)[layer],
        tolls=tolls(state)[layer],
        gate_deviation=state.gate_deviation()[layer],
        difficulty_mean=state.difficulty_mean()[layer],
        difficulty_deviation=state.difficulty_deviation()[layer],
        difficulty_weight=config.bid.difficulty_weight,
        bias_max=config.bid.bias_max,
        space=config.bid.space,
    )


def tolls(state: CalibratedState) -> Tensor:
    """lambda_e + mu kappa_e, [L,E], in what bids add to."""
    return state.bid_unit().unsqueeze(-1) * (state.congestion + state.compute_price * state.kappa())


def outlook(config: CalibratedConfig, state: CalibratedState) -> Tensor:
    """y, [L,E], of the settlements so far."""
    return merit.outlook(merit.profit(state.credit, state.credit_squares, config.credit.prior_tokens))
