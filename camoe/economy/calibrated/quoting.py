"""What the calibrated market tells routers and critics between two settlements."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated.bid import CalibratedQuote
from camoe.economy.calibrated.merit import profit
from camoe.economy.calibrated.rates import quotient
from camoe.economy.calibrated.state import CalibratedState


def quote(config: CalibratedConfig, state: CalibratedState, layer: int) -> CalibratedQuote:
    """What one layer's election needs to know."""
    log_wealth = state.capital_share()[layer].mul(state.n_expert).log()
    tolls = state.bid_unit()[layer] * (state.congestion[layer] + state.compute_price * state.kappa())
    return CalibratedQuote(
        wealth=state.alpha[layer] * log_wealth,
        subsidy=torch.zeros_like(log_wealth),
        tolls=tolls,
        gate_deviation=state.gate_deviation()[layer],
        difficulty_mean=state.difficulty_mean()[layer],
        difficulty_deviation=state.difficulty_deviation()[layer],
        difficulty_weight=config.bid.difficulty_weight,
        bias_max=config.bid.bias_max,
        space=config.bid.space,
    )


def outlook(config: CalibratedConfig, state: CalibratedState) -> Tensor:
    """y = softmax(Pi_e / sd), [L,E]: what the audits so far say of every expert, and what critics are scored by."""
    profits = profit(state.credit, state.credit_squares, config.credit.prior_tokens)
    return torch.softmax(quotient(profits.rate, profits.deviation), dim=-1)
