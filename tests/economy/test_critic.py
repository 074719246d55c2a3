"""The critic's shapes, names and what its input learns."""

from __future__ import annotations

import pytest
import torch

from camoe.config.economy import CriticConfig
from camoe.economy.critic import Critic


def test_opinion_and_parameter_names() -> None:
    critic = Critic(6, 3, CriticConfig())
    difficulty, affinity = critic(torch.randn(2, 5, 6))
    assert difficulty.shape == (2, 5)
    assert affinity.shape == (2, 5, 3)
    assert (difficulty >= 1e-3).all()
    shapes = {name: tuple(parameter.shape) for name, parameter in critic.named_parameters()}
    assert shapes["feature.0.bias"] == (128,)
    assert shapes["difficulty_head.2.weight"] == (1, 64)
    assert shapes["affinity_head.2.weight"] == (3, 64)


@pytest.mark.parametrize("detach", [True, False])
def test_input_learns_only_when_not_detached(detach: bool) -> None:
    h = torch.randn(2, 5, 6, requires_grad=True)
    difficulty, _ = Critic(6, 3, CriticConfig(detach_input=detach))(h)
    difficulty.sum().backward()
    assert (h.grad is None) == detach
