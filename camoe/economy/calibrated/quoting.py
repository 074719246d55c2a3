"""What the calibrated market tells routers and critics between two settlements."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated import merit, placebo, ventures
from camoe.economy.calibrated.bid import CalibratedQuote
from camoe.economy.calibrated.state import CalibratedState


class Quotes:
    """The quotes of all layers, computed once for every change of the state: tokens are generated one by one."""

    def __init__(self, config: CalibratedConfig, state: CalibratedState) -> None:
        self.config, self.state = config, state
        self._seen: list[tuple[Tensor, int]] = []
        self._quotes: list[CalibratedQuote] = []

    def of(self, layer: int) -> CalibratedQuote:
        """What one layer's election needs to know."""
        buffers = list(self.state.buffers())
        fresh = len(self._seen) == len(buffers) and all(
            buffer is seen and buffer._version == version
            for buffer, (seen, version) in zip(buffers, self._seen, strict=True)
        )
        if not fresh:
            # usable in training also when first asked for while generating
            with torch.inference_mode(False), torch.no_grad():
                self._quotes = quotes(self.config, self.state)
            self._seen = [(buffer, buffer._version) for buffer in buffers]
        return self._quotes[layer]


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
