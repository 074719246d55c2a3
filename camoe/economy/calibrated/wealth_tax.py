"""(8) The tax on wealth above a threshold."""

from __future__ import annotations

from torch import Tensor

from camoe.config.calibrated import WealthTaxConfig
from camoe.economy.calibrated.rates import rate


def wealth_tax(capital: Tensor, money: Tensor, tokens: Tensor, config: WealthTaxConfig) -> Tensor:
    """T_e = r_N(H_w) max(0, C_e - threshold M/E), [L,E], from capital [L,E] and all money M [L]."""
    threshold = config.threshold * money.unsqueeze(-1) / capital.shape[-1]
    return rate(tokens, config.half_life) * (capital - threshold).clamp(min=0)
