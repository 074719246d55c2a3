"""Restructuring of all layers at once, against layers restructured one after the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from camoe.economy.restructuring import donor_weights, restructure, seen_in_order


def restructure_in_order(
    parameters: Tensor,
    bankrupt: list[bool],
    performance: Tensor,
    purse: Tensor,
    donor_topk: int,
    step: float,
) -> Tensor:
    """Layer after layer; performance and purse [2,L] turn from before to after as the loop passes."""
    parameters, seen_performance, seen_purse = parameters.clone(), performance[0].clone(), purse[0].clone()
    for layer in range(len(parameters)):
        others = [j for j in range(len(parameters)) if j != layer]
        donors = sorted(others, key=lambda j: -seen_performance[j].item())[:donor_topk]
        if bankrupt[layer] and donors:
            wealth = seen_purse[donors]
            mean = (wealth[:, None] * parameters[donors]).sum(0) / wealth.sum()
            parameters[layer] = (1 - step) * parameters[layer] + step * mean
        seen_performance[layer], seen_purse[layer] = performance[1][layer], purse[1][layer]
    return parameters


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), n_layer=st.integers(1, 6), donor_topk=st.integers(1, 7), tied=st.booleans())
def test_all_at_once_equals_one_after_the_other(seed: int, n_layer: int, donor_topk: int, tied: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    performance = torch.randn(2, n_layer, generator=generator, dtype=torch.float64)
    if tied:
        performance = performance.round()
    purse = torch.rand(2, n_layer, generator=generator, dtype=torch.float64) * 1000 + 100
    bankrupt = torch.rand(n_layer, generator=generator) < 0.6
    critics = [nn.Linear(3, 2).double() for _ in range(n_layer)]
    before = weights_of(critics)
    expected = restructure_in_order(before, bankrupt.tolist(), performance, purse, donor_topk, step=0.3)

    donors = donor_weights(seen_in_order(*performance), seen_in_order(*purse), donor_topk)
    restructure(critics, bankrupt, donors, 0.3)

    torch.testing.assert_close(weights_of(critics), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(weights_of(critics)[~bankrupt], before[~bankrupt])


def weights_of(critics: list[nn.Linear]) -> Tensor:
    return torch.stack([critic.weight.detach().flatten() for critic in critics])


def test_donors_are_the_best_others_by_purse() -> None:
    performance, purse = torch.tensor([0.3, 0.1, 0.2, 0.4]), torch.tensor([100.0, 1.0, 300.0, 100.0])
    weights = donor_weights(performance.expand(4, 4), purse.expand(4, 4), 2)
    torch.testing.assert_close(weights[0], torch.tensor([0, 0, 0.75, 0.25]))
    torch.testing.assert_close(weights[1], torch.tensor([0.5, 0, 0, 0.5]))


def test_one_critic_per_layer() -> None:
    with pytest.raises(ValueError, match="1 critics for 2 layers"):
        restructure([nn.Linear(1, 1)], torch.zeros(2, dtype=torch.bool), torch.zeros(2, 2), 0.1)
