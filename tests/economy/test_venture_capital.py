"""Who is a venture and how the budget is split."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.economy import V21Config
from camoe.economy.venture_capital import venture_grants

CONFIG = V21Config(total_capital=1000.0, vc_inject_ratio=0.02, vc_max_inject_ratio=0.05)
CAPITAL, IDLE, TRUSTED = [400.0, 400.0, 100.0, 100.0], [0.5, 0.5, 0.0, 0.0], [0.9, 0.9, 0.25, 0.55]


def grants(capital: list[float] = CAPITAL, share: list[float] = IDLE, trust: list[float] = TRUSTED) -> Tensor:
    rows = torch.tensor([[capital], [share], [trust]], dtype=torch.float64)
    return venture_grants(rows[0], rows[1], rows[2], CONFIG)[0]


def test_budget_follows_excess_trust_up_to_the_cap() -> None:
    # budget 20, excess trust 0.1 and 0.4, equal leverage: 4 and 16, the latter capped at 0.05 * 1000 / 4
    torch.testing.assert_close(grants(), torch.tensor([0, 0, 4, 12.5], dtype=torch.float64), rtol=1e-5, atol=0)


def test_poorer_ventures_get_more() -> None:
    leveraged = grants(capital=[400, 400, 150, 50], trust=[0.9, 0.9, 0.2, 0.2])
    torch.testing.assert_close(leveraged[3], torch.tensor(12.5, dtype=torch.float64))
    torch.testing.assert_close(leveraged[2] / 20, torch.tensor(5 / 3 / (5 / 3 + 5)).double(), rtol=1e-5, atol=0)


def test_rich_used_or_distrusted_experts_get_nothing() -> None:
    assert grants(share=[0.5, 0.5, 0.02, 0.0])[2] == 0
    assert grants(trust=[0.9, 0.9, 0.15, 0.55])[2] == 0
    assert grants(capital=[250.0] * 4, share=[0.0] * 4).count_nonzero() == 0
