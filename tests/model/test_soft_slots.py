"""Soft MoE in a layer against slots filled and emptied one by one, for both forms of dispatch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camoe.model.experts.expert import ExpertContext
from camoe.model.language_model import LanguageModel
from camoe.model.mixture import Mixture
from camoe.routing.routers.soft_moe import SoftMoE
from tests.routing.routing_context import context
from tests.small_run import small_run

B, T, C, E, SLOTS = 2, 7, 32, 3, 2


def _layer() -> Mixture:
    experts = {"rwkv_ffn": E, "transformer_prefix": 0}
    model = LanguageModel(small_run("off", router={"kind": "soft_moe", "slots": SLOTS}, experts=experts)).double()
    mixture = model.blocks[0].mixture
    assert isinstance(mixture, Mixture)
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return mixture


def _literal(mixture: Mixture, h: Tensor, previous: Tensor) -> Tensor:
    assert isinstance(mixture.router, SoftMoE)
    out = torch.zeros_like(h)
    for b in range(B):
        logits = h[b] @ mixture.router.gate.proj.weight.T
        for s in range(E * SLOTS):
            share = torch.softmax(logits[:, s], 0)
            slot_h, slot_previous = (sum(share[t] * part[b, t] for t in range(T)) for part in (h, previous))
            served = mixture.expert_list()[s // SLOTS](slot_h[None], ExpertContext(slot_previous[None]))[0]
            for t in range(T):
                out[b, t] = out[b, t] + torch.softmax(logits[t], 0)[s] * served
    return out


@pytest.mark.parametrize(("dispatch", "bound"), [("segments", 1e-9), ("grouped", 1e-4)])
def test_slots_equal_the_written_out_sums_and_their_gradients(dispatch: str, bound: float) -> None:
    torch.manual_seed(0)
    mixture = _layer()
    mixture.dispatch, dtype = dispatch, torch.float32 if dispatch == "grouped" else torch.float64
    mixture.to(dtype)
    h, previous = torch.randn(2, B, T, C, dtype=dtype)
    results = []
    for compute in (
        lambda x: mixture(x, previous, None, None, context(x))[0],
        lambda x: _literal(mixture, x, previous),
    ):
        x = h.clone().requires_grad_()
        out = compute(x)
        mixture.zero_grad()
        (out * torch.sin(torch.arange(out.numel(), dtype=dtype)).view_as(out)).sum().backward()
        gate = mixture.router.gate.proj.weight.grad  # type: ignore[union-attr]
        results.append((out.detach(), x.grad, gate.clone()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=bound, atol=bound)


def test_statistics_see_shares_that_sum_to_one_and_every_expert() -> None:
    torch.manual_seed(0)
    mixture = _layer()
    h = torch.randn(B, T, C, dtype=torch.float64)
    decision = mixture.router(h, context(h), None)
    torch.testing.assert_close(decision.weights.sum(-1), torch.ones(B, T, dtype=torch.float64))
    assert torch.equal(decision.experts.sort(-1).values, torch.arange(E).expand(B, T, E))
