"""Native gathering, shifting and mixing of experts' rows against the torch form in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from camoe.kernels.dispatch_plan import DispatchPlan, plan_dispatch
from camoe.kernels.expert_rows import expert_inputs, mix_outputs
from camoe.kernels.expert_rows_native import serves_expert_rows

pytestmark = pytest.mark.skipif(not serves_expert_rows(), reason="no C++ compiler")
N_EXPERT = 3
# Tokens, width, winners per token, multiple of rows, whether some winners are nobody.
CASES = [(1, 5, 1, 1, False), (19, 37, 2, 1, True), (19, 16, 2, 4, True), (300, 7, 3, 8, False)]


def _plan(n_token: int, top_k: int, multiple: int, *, idle: bool) -> DispatchPlan:
    generator = torch.Generator().manual_seed(n_token)
    winners = torch.rand(n_token, N_EXPERT + idle, generator=generator).topk(top_k).indices
    return plan_dispatch(winners, N_EXPERT, multiple)


def _compare(operation: Callable[[list[Tensor]], tuple[Tensor, ...]], inputs: list[Tensor]) -> None:
    """Values and gradients of float32, which is native, and of float64, which is not."""
    leaves = [[x.detach().to(dtype).requires_grad_() for x in inputs] for dtype in (torch.float32, torch.float64)]
    (got, expected) = (operation(each) for each in leaves)
    cotangents = [torch.randn_like(out) for out in got]
    gradients = [
        torch.autograd.grad(out, leaf, [c.to(out[0].dtype) for c in cotangents])
        for out, leaf in zip((got, expected), leaves, strict=True)
    ]
    for ours, exact in zip((*got, *gradients[0]), (*expected, *gradients[1]), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, exact.float(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("n_token", "width", "top_k", "multiple", "idle"), CASES)
@pytest.mark.parametrize("n_ratio", [0, 2, N_EXPERT])
def test_inputs(n_token: int, width: int, top_k: int, multiple: int, idle: bool, n_ratio: int) -> None:
    plan = _plan(n_token, top_k, multiple, idle=idle)
    h, previous = torch.randn(n_token, width), torch.randn(n_token, width)

    def operation(leaves: list[Tensor]) -> tuple[Tensor, ...]:
        ratios = [*leaves[2:], *(None for _ in range(N_EXPERT - n_ratio))]
        rows = expert_inputs(leaves[0], leaves[1], ratios, plan)
        # What no place names is not read, and gets no gradient.
        named = tuple(each[:count] for each, count in zip(rows, plan.served, strict=True))
        return (*named, leaves[1].sum()[None])

    _compare(operation, [h, previous, *torch.rand(n_ratio, width)])


@pytest.mark.parametrize(("n_token", "width", "top_k", "multiple", "idle"), CASES)
def test_outputs(n_token: int, width: int, top_k: int, multiple: int, idle: bool) -> None:
    plan = _plan(n_token, top_k, multiple, idle=idle)
    weights = torch.rand(n_token, top_k).where(plan.winners < N_EXPERT, 0)
    rows = [torch.randn(count, width) for count in plan.counts[:-1]]

    def operation(leaves: list[Tensor]) -> tuple[Tensor, ...]:
        return (mix_outputs(leaves[1:], leaves[0].where(plan.winners < N_EXPERT, 0), plan),)

    _compare(operation, [weights, *rows])


def test_an_expert_whose_rows_nobody_reads_passes_nothing_back() -> None:
    plan = _plan(9, 2, 1, idle=False)
    h, ratio = torch.randn(9, 4, requires_grad=True), torch.rand(4, requires_grad=True)
    rows = expert_inputs(h, h.detach(), [ratio, None, None], plan)
    rows[1].sum().backward()
    assert h.grad is not None
    assert torch.equal(h.grad, (plan.winners == 1).any(1).float()[:, None].expand(9, 4))
    assert ratio.grad is not None
    assert not ratio.grad.any()
