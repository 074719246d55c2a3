"""Every low-rank form against the materialised prefix: values, all gradients, autocast, and what is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from camoe.model.bridge import LinearStateBridge
from camoe.model.low_rank_prefix import attend_absorbed, attend_by_factors, prefix_factors
from camoe.model.prefix_attention_reference import materialised_attention, materialised_prefix

SIZES = [(24, 8, 7, 5), (32, 16, 1, 3), (32, 32, 9, 33), (12, 4, 5, 1)]  # C, D, P, r


class Problem(NamedTuple):
    """Inputs of one attention, every one of them alive."""

    query: Tensor
    low: Tensor
    bridge: LinearStateBridge
    key: Tensor
    value: Tensor
    size: int

    def wanted(self) -> list[Tensor]:
        norm = self.bridge.prefix_norm
        shared = [self.bridge.up.weight, self.bridge.position, norm.weight, norm.bias]
        return [self.query, self.low, *shared, self.key, self.value]


def problem(n: int, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64) -> Problem:
    channels, size, rows, rank = shape
    torch.manual_seed(0)
    bridge = LinearStateBridge(channels, rows, rank).to(dtype)
    norm = bridge.prefix_norm
    with torch.no_grad():
        bridge.up.weight.normal_()
        bridge.position.normal_(0.3, 0.5)
        norm.weight.normal_(1, 0.5)
        norm.bias.normal_(0, 0.5)
    query, low = torch.randn(n, channels, dtype=dtype), torch.randn(n, rows, rank, dtype=dtype)
    key, value = (torch.randn(channels, channels, dtype=dtype) / channels**0.5 for _ in range(2))
    return Problem(query, low, bridge, nn.Parameter(key), nn.Parameter(value), size)


def by_factors(p: Problem) -> Tensor:
    prefix_map = p.bridge.prefix_map()
    return attend_by_factors(p.query, p.low, prefix_map, prefix_factors(prefix_map, p.key, p.value, p.size))


def absorbed(p: Problem) -> Tensor:
    return attend_absorbed(p.query, p.low, p.bridge.prefix_map(), p.key, p.value, p.size)


def materialised(p: Problem) -> Tensor:
    return materialised_attention(p.query, materialised_prefix(p.bridge, p.low), p.key, p.value, p.size)


def with_gradients(form: Callable[[Problem], Tensor], p: Problem) -> list[Tensor]:
    wanted = [x.requires_grad_() for x in p.wanted()]
    out = form(p)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(out.dtype)
    return [out, *torch.autograd.grad(out, wanted, upstream)]


@pytest.mark.parametrize("form", [by_factors, absorbed])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("n", [0, 1, 7, 513])
def test_values_and_every_gradient_are_the_materialised_ones(
    form: Callable[[Problem], Tensor], shape: tuple[int, int, int, int], n: int
) -> None:
    ours, reference = with_gradients(form, problem(n, shape)), with_gradients(materialised, problem(n, shape))
    for found, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12 * max(n, 1))
    if n and shape[2] > 1:  # with one row there is nothing to choose, and no gradient to query and key
        assert all(float(expected.detach().abs().max()) > 1e-6 for expected in reference)


@pytest.mark.parametrize("form", [by_factors, absorbed])
def test_float32_is_as_near_to_float64_as_the_materialised_form(form: Callable[[Problem], Tensor]) -> None:
    shape = (64, 16, 9, 17)
    exact = [x.detach() for x in with_gradients(materialised, problem(65, shape))]
    rounded = [x.float().double() for x in problem(65, shape).wanted()]
    single = problem(65, shape, torch.float32)
    with torch.no_grad():
        for theirs, ours in zip(single.wanted(), rounded, strict=True):
            theirs.copy_(ours)
    for found, expected in zip(with_gradients(form, single), exact, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=5e-6 * scale)


@pytest.mark.parametrize("form", [by_factors, absorbed])
def test_frozen_weights_leave_the_other_gradients_as_they_are(form: Callable[[Problem], Tensor]) -> None:
    full, frozen = with_gradients(form, problem(9, SIZES[0])), problem(9, SIZES[0])
    frozen.bridge.requires_grad_(False)
    frozen.key.requires_grad_(False)
    frozen.value.requires_grad_(False)
    out = form(frozen._replace(query=frozen.query.requires_grad_(), low=frozen.low.requires_grad_()))
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for found, expected in zip(torch.autograd.grad(out, [frozen.query, frozen.low], upstream), full[1:3], strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", [by_factors, absorbed])
def test_autocast_computes_deviations_in_float32_and_returns_the_gradients_of_each_dtype(
    form: Callable[[Problem], Tensor],
) -> None:
    """Rows so long that bfloat16 squares would be off by a hundredth; what remains is bfloat16's rounding of inputs."""
    shape = (64, 16, 9, 17)
    reference = with_gradients(form, problem(33, shape, torch.float32))
    half = problem(33, shape, torch.float32)
    half = half._replace(query=half.query.bfloat16(), low=half.low.bfloat16())

    def under_autocast(p: Problem) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return form(p)

    found = with_gradients(under_autocast, half)
    assert [x.dtype for x in found] == [torch.bfloat16] * 3 + [torch.float32] * 6
    for ours, theirs in zip(found, reference, strict=True):
        distance = ((ours.float() - theirs).norm() / theirs.norm()).detach()
        assert float(distance) < 0.02
