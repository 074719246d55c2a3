"""(9) The tax on the wealth of experts that hardly serve. It is spent on their own trials, see `ventures`."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.calibrated import IdleTaxConfig
from camoe.economy.calibrated.rates import quotient, rate


def is_idle(load: Tensor, config: IdleTaxConfig) -> Tensor:
    """f_e < threshold / E, [L,E] bool, from the running sum of assignments [L,E]; nobody while nothing was served."""
    total, n_expert = load.sum(-1, keepdim=True), load.shape[-1]
    share = torch.where(total > 0, quotient(load, total), 1 / n_expert)
    return share < config.threshold / n_expert


def idle_tax(capital: Tensor, idle: Tensor, tokens: Tensor, config: IdleTaxConfig) -> Tensor:
    """I_e = r_N(H_i) C_e of the idle, [L,E]."""
    return rate(tokens, config.half_life) * capital * idle
