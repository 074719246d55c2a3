"""The RWKV expert: its formula, the token before in the sequence, its size and cost."""

from __future__ import annotations

import pytest
import torch

from camoe.model.experts.expert import ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward

C, HIDDEN = 16, 64


def awake(*, token_shift: bool) -> RwkvFeedForward:
    torch.manual_seed(0)
    expert = RwkvFeedForward(C, HIDDEN, layer_id=1, n_layer=3, token_shift=token_shift)
    torch.nn.init.normal_(expert.value.weight)
    return expert


@pytest.mark.parametrize("token_shift", [True, False])
def test_the_formula_token_by_token(token_shift: bool) -> None:
    expert = awake(token_shift=token_shift)
    h, previous = torch.randn(2, 9, C)
    out = expert(h, ExpertContext(previous))
    for n in range(9):
        mixed = h[n] + (previous[n] - h[n]) * expert.x_k.flatten() if expert.x_k is not None else h[n]
        k = torch.clamp(expert.key.weight @ mixed, min=0) ** 2
        torch.testing.assert_close(out[n], expert.value.weight @ k)


def test_the_published_variant_has_no_shift_parameter_and_ignores_the_token_before() -> None:
    expert = awake(token_shift=False)
    assert {name for name, _ in expert.named_parameters()} == {"key.weight", "value.weight"}
    h, previous = torch.randn(2, 5, C)
    assert torch.equal(expert(h, ExpertContext(previous)), expert(h, ExpertContext(-previous)))


def test_a_fresh_expert_adds_nothing_and_learns_at_once() -> None:
    expert = RwkvFeedForward(C, HIDDEN, layer_id=0, n_layer=3)
    h, previous = torch.randn(2, 5, C)
    out = expert(h, ExpertContext(previous))
    assert torch.all(out == 0)
    (out * torch.randn_like(out)).sum().backward()
    assert expert.value.weight.grad is not None
    assert float(expert.value.weight.grad.abs().max()) > 0


def test_no_tokens_no_outputs() -> None:
    empty = torch.empty(0, C)
    assert awake(token_shift=True)(empty, ExpertContext(empty)).shape == (0, C)


def test_size_and_cost() -> None:
    expert = awake(token_shift=True)
    assert expert.num_params == 2 * C * HIDDEN + C
    assert expert.flops_per_token == 2 * 2 * C * HIDDEN
    assert not expert.needs_prefix
