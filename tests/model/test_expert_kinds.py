"""Every kind of expert without state of its own: its formula token by token, its gradients, its size and its start."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from camoe.kernels import grouped_products
from camoe.kernels.grouped_products import RowGroups
from camoe.model.experts.constant import Constant
from camoe.model.experts.copy import Copy
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.experts.gated_channel_mix import GatedChannelMix
from camoe.model.experts.gelu_ffn import GeluFeedForward
from camoe.model.experts.swiglu import SwiGlu
from camoe.model.experts.zero import Zero, weights_without_zero_experts
from camoe.training.optimizers import decays

C, HIDDEN = 6, 10
MAKERS: dict[str, Callable[[], Expert]] = {
    "swiglu": lambda: SwiGlu(C, HIDDEN),
    "gelu_ffn": lambda: GeluFeedForward(C, HIDDEN),
    "gated_channel_mix": lambda: GatedChannelMix(C, HIDDEN),
    "zero": Zero,
    "copy": Copy,
    "constant": lambda: Constant(C),
}
KINDS = list(MAKERS)


def awake(kind: str, seed: int = 0) -> Expert:
    expert = MAKERS[kind]().double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in expert.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return expert


def literal(kind: str, expert: Expert, h: Tensor) -> Tensor:
    """One token's output [C], each sum spelt out."""
    own = dict(expert.named_parameters())

    def times(name: str, x: list[Tensor]) -> list[Tensor]:
        return [sum((w * value for w, value in zip(row, x, strict=True)), torch.zeros(())) for row in own[name]]

    x = list(h)
    if kind == "swiglu":
        gate, up = times("gate.weight", x), times("up.weight", x)
        return torch.stack(times("down.weight", [g / (1 + (-g).exp()) * u for g, u in zip(gate, up, strict=True)]))
    if kind == "gelu_ffn":
        hidden = [u * (1 + torch.erf(u / math.sqrt(2))) / 2 for u in times("up.weight", x)]
        return torch.stack(times("down.weight", hidden))
    if kind == "gated_channel_mix":
        hidden = [k * k if k > 0 else 0 * k for k in times("key.weight", x)]
        gate = [1 / (1 + (-r).exp()) for r in times("receptance.weight", x)]
        return torch.stack([g * v for g, v in zip(gate, times("value.weight", hidden), strict=True)])
    if kind == "constant":
        first, second = (score.exp() for score in times("blend.weight", x))
        return (first * h + second * own["vector"]) / (first + second)
    return h if kind == "copy" else 0 * h


def gradients(out: Tensor, wrt: list[Tensor]) -> list[Tensor]:
    cotangent = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out)
    total = (out * cotangent).sum() + 0 * sum(tensor.sum() for tensor in wrt)
    return list(torch.autograd.grad(total, wrt))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_token", [1, 5])
def test_values_and_gradients_are_the_formulas(kind: str, n_token: int) -> None:
    expert = awake(kind)
    h = torch.randn(n_token, C, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    wrt = [h, *expert.parameters()]
    out, expected = expert(h, ExpertContext(h.detach())), torch.stack([literal(kind, expert, row) for row in h])
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    for ours, reference in zip(gradients(out, wrt), gradients(expected, wrt), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-12)


def grouped_product(a: Tensor, b: Tensor, *, offs: Tensor) -> Tensor:
    """What torch's grouped_mm says it does, in any precision and at any width; what it leaves unset is not a number."""
    pieces = list(pairwise([0, *offs.tolist()]))
    if b.dim() == 2:
        return torch.stack([a[:, start:end] @ b[start:end] for start, end in pieces])
    out = a.new_full((len(a), b.shape[-1]), torch.nan)
    for (start, end), matrix in zip(pieces, b, strict=True):
        out[start:end] = a[start:end] @ matrix
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_the_grouped_form_is_each_expert_on_its_own_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_products.F, "grouped_mm", grouped_product)
    experts = [awake(kind, seed) for seed in range(3)]
    h = torch.randn(9, C, dtype=torch.float64).requires_grad_()
    groups = RowGroups(torch.tensor([4, 4, 7], dtype=torch.int32), len(h))  # the second has none, two rows none of them
    wrt = [h, *(parameter for expert in experts for parameter in expert.parameters())]
    context = ExpertContext(h.detach())
    out = type(experts[0]).forward_grouped(experts, h, context, groups)
    expected = torch.cat([experts[0](h[:4], context), experts[2](h[4:7], context), torch.zeros_like(h[7:])])
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    for ours, reference in zip(gradients(out, wrt), gradients(expected, wrt), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "params", "flops"),
    [
        ("swiglu", 3 * C * HIDDEN, 6 * C * HIDDEN),
        ("gelu_ffn", 2 * C * HIDDEN, 4 * C * HIDDEN),
        ("gated_channel_mix", 2 * C * HIDDEN + C * C, 4 * C * HIDDEN + 2 * C * C),
        ("zero", 0, 0),
        ("copy", 0, 0),
        ("constant", 3 * C, 4 * C),
    ],
)
def test_size_and_cost(kind: str, params: int, flops: int) -> None:
    expert = MAKERS[kind]()
    assert (expert.num_params, expert.flops_per_token, expert.needs_prefix) == (params, flops, False)
    assert expert.kind == kind


@pytest.mark.parametrize(
    ("d", "f", "params"),
    [
        (2048, 30517, 129_191_936),
        (3072, 81380, 509_435_904),
        (6144, 406901, 5_037_748_224),
        (12288, 1017252, 25_150_980_096),
    ],
)
def test_published_sizes_of_cdrmix(d: int, f: int, params: int) -> None:
    with torch.device("meta"):
        assert GatedChannelMix(d, f).num_params == params


@pytest.mark.parametrize("kind", ["swiglu", "gelu_ffn"])
def test_each_matrix_starts_by_its_own_fan_in(kind: str) -> None:
    """An output of unit-scale input neither vanishes nor explodes, whatever the width."""
    makers = {"swiglu": SwiGlu, "gelu_ffn": GeluFeedForward}
    torch.manual_seed(0)
    expert = makers[kind](256, 96)
    for name, parameter in expert.named_parameters():
        bound = 1 / math.sqrt(96 if name == "down.weight" else 256)
        assert 0.99 * bound < float(parameter.detach().abs().max()) <= bound
        assert float(parameter.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_fresh_gated_channel_mix_adds_nothing_and_learns_at_once() -> None:
    expert, h = GatedChannelMix(C, HIDDEN), torch.randn(5, C)
    out = expert(h, ExpertContext(h))
    assert torch.all(out == 0)
    (out * torch.randn_like(out)).sum().backward()
    assert float(expert.value.weight.grad.abs().max()) > 0


def test_matrices_decay_and_vectors_do_not() -> None:
    named = {f"{kind}.{name}": p for kind in KINDS for name, p in MAKERS[kind]().named_parameters()}
    assert {name for name, parameter in named.items() if not decays(name, parameter)} == {"constant.vector"}


def test_zero_experts_leave_their_weight_to_the_other_winners() -> None:
    weights = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.3], [0.4, 0.4, 0.2]]).double()
    is_zero = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    expected = torch.tensor([[0.4, 0, 0.6], [0.2, 0.5, 0.3], [0, 0, 0.6], [0, 0, 0]]).double()
    torch.testing.assert_close(weights_without_zero_experts(weights, is_zero), expected)


def test_the_weight_rule_is_that_of_the_published_layer_where_weights_sum_to_one() -> None:
    probability = torch.rand(50, 5).double().softmax(-1)
    top, winners = probability.topk(2)
    is_zero = winners == 4
    published = torch.where(is_zero, 0, top)
    published = published / published.sum(-1, keepdim=True)
    torch.testing.assert_close(weights_without_zero_experts(top / top.sum(-1, keepdim=True), is_zero), published)
    single = weights_without_zero_experts(top[:, :1].requires_grad_(), is_zero[:, :1])
    assert torch.equal(single.detach(), torch.where(is_zero[:, :1], 0, top[:, :1]))


def test_the_rule_has_a_finite_gradient_even_where_only_zero_experts_won() -> None:
    weights = torch.rand(4, 2).double().requires_grad_()
    weights_without_zero_experts(weights, torch.ones(4, 2).bool()).sum().backward()
    assert torch.equal(weights.grad, torch.zeros(4, 2).double())
