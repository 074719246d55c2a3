"""(10) Venture capital: the treasury buys trials for experts that hardly serve.

A grant lies in the venture book and subsidises its expert's bids; it vests, with a half-life, as the expert's capital.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import VenturesConfig
from camoe.economy.calibrated.rates import quotient, rate
from camoe.economy.calibrated.state import CalibratedState


def vested(grants: Tensor, tokens: Tensor, config: VenturesConfig) -> Tensor:
    """What the book [L,E] pays out: r_N(H_vc) of every grant."""
    return rate(tokens, config.half_life) * grants


def new_grants(
    treasury: Tensor, grants: Tensor, belief: Tensor, share: Tensor, idle: Tensor, money: Tensor, config: VenturesConfig
) -> Tensor:
    """Grants [L,E] in proportion to max(0, q_e - c_e) of the idle: the critic believes more than the market.

    treasury, money: [L]; the others [L,E]. No expert's grants exceed what buys the largest subsidy.
    """
    claim = (belief - share).clamp(min=0) * idle
    wanted = treasury.unsqueeze(-1) * quotient(claim, claim.sum(-1, keepdim=True))
    most = config.subsidy_max / config.leverage * money.unsqueeze(-1) / grants.shape[-1]
    return torch.minimum(wanted, (most - grants).clamp(min=0))


def subsidy(config: VenturesConfig, state: CalibratedState) -> Tensor:
    """nu_e, [L,E], in standard deviations of the gate, at most subsidy_max.

    critic: leverage times the expert's grants over M/E. ucb: c_u sqrt(log(sum n) / n_e), n the tokens that credits of
    the horizon rest on.
    """
    if config.kind == "critic":
        mean = state.money().unsqueeze(-1) / state.n_expert
        return (config.leverage * state.grants / mean).clamp(max=config.subsidy_max)
    if config.kind == "ucb":
        served = state.credit[1]
        evidence = served.sum(-1, keepdim=True).clamp(min=1).log()
        bound = config.ucb_scale * (evidence / served.clamp(min=torch.finfo(served.dtype).tiny)).sqrt()
        return bound.clamp(max=config.subsidy_max)
    return torch.zeros_like(state.grants)
