"""What the calibrated market tells routers and critics between two settlements."""

from __future__ import annotations

from torch import Tensor

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated import merit, placebo, ventures
from camoe.economy.calibrated.bid import CalibratedQuote
from camoe.economy.calibrated.state import CalibratedState


def quotes(config: CalibratedConfig, state: CalibratedState) -> list[CalibratedQuote]:
    """What every layer's election needs to know, in float32 as gates are."""
    share, applied = placebo.quoted_share(config.placebo, state), placebo.applied(config.placebo, state)
    columns = {
        "wealth": applied * state.alpha.unsqueeze(-1) * (share * state.n_expert).log(),
        "subsidy": applied * ventures.subsidy(config.ventures, state),
        "tolls": tolls(state),
        "gate_deviation": state.gate_deviation(),
        "difficulty_mean": state.difficulty_mean(),
        "difficulty_deviation": state.difficulty_deviation(),
    }
    in_float32 = {name: column.float() for name, column in columns.items()}
    bid = config.bid
    return [
        CalibratedQuote(
            **{name: column[layer] for name, column in in_float32.items()},
            difficulty_weight=bid.difficulty_weight,
            bias_max=bid.bias_max,
            space=bid.space,
        )
        for layer in range(state.n_layer)
    ]


def tolls(state: CalibratedState) -> Tensor:
    """lambda_e + mu kappa_e, [L,E], in what bids add to."""
    return state.bid_unit().unsqueeze(-1) * (state.congestion + state.compute_price * state.kappa())


def outlook(config: CalibratedConfig, state: CalibratedState) -> Tensor:
    """y, [L,E], of the settlements so far."""
    return merit.outlook(merit.profit(state.credit, state.credit_squares, config.credit.prior_tokens))
