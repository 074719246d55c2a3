"""Recomputation in the backward pass repeats the elections and the gradients bit for bit, and counts nothing twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camoe.model.language_model import LanguageModel
from camoe.routing.election_terms import ElectionTerms
from camoe.training.objectives import Batch, Losses, compute_losses
from tests.small_run import small_run

T, EXPERTS = 24, 4


def _losses_and_gradients(bidding: bool, **train: str) -> tuple[Losses, dict[str, Tensor]]:
    config = small_run(train=train)
    model = LanguageModel(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    model.market.bidding = bidding
    tokens = torch.randint(1, 256, (2, T + 1), generator=generator)
    noise = torch.randn(2, config.model.n_layer, T, EXPERTS, generator=generator)
    losses = compute_losses(model, Batch(tokens[:, :-1], tokens[:, 1:]), ElectionTerms(noise))
    losses.total.backward()
    return losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("bidding", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", ["block", "time_mix"])
def test_recomputation_repeats_elections_and_gradients(recompute: str, precision: str, bidding: bool) -> None:
    losses, gradients = _losses_and_gradients(bidding, precision=precision)
    repeated, again = _losses_and_gradients(bidding, precision=precision, recompute=recompute)
    assert torch.equal(losses.total, repeated.total)
    assert len(losses.trace.layers) == len(repeated.trace.layers) == 2
    assert torch.equal(losses.trace.stacked("experts"), repeated.trace.stacked("experts"))
    assert gradients.keys() == again.keys()
    for name, gradient in gradients.items():
        assert torch.equal(gradient, again[name]), name
