"""Experts' input rows and the sum of their outputs in native code: a pass each, where torch takes six.

Float32 on the CPU. Neither the gathered rows nor those of the tokens before are kept for the backward pass. The
algorithm is told in cuda/expert_rows_cpu.cpp; the reference is the torch form in camoe/kernels/expert_rows.py.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from camoe.kernels.dispatch_plan import DispatchPlan
from camoe.kernels.native_build import load, native_function

SOURCE = Path(__file__).resolve().parents[2] / "cuda" / "expert_rows_cpu.cpp"
Maybe = Sequence[Tensor | None]


def serves_expert_rows(*tensors: Tensor) -> bool:
    """Whether all are for the native form."""
    return all(x.dtype is torch.float32 and x.is_cpu for x in tensors) and _compiled()


@functools.cache
def _compiled() -> bool:
    return load(SOURCE).library is not None


def expert_inputs_native(h: Tensor, previous: Tensor, ratios: Maybe, plan: DispatchPlan) -> tuple[Tensor, ...]:
    """`expert_inputs`."""
    before = previous if any(ratio is not None for ratio in ratios) else None
    rows: tuple[Tensor, ...] = _Inputs.apply(plan, h, before, *ratios)
    return rows


def expert_outputs_native(rows: Sequence[Tensor], weights: Tensor, plan: DispatchPlan) -> Tensor:
    """`mix_outputs`."""
    mixed: Tensor = _Outputs.apply(plan, weights, *rows)
    return mixed


class _Inputs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: DispatchPlan, h: Tensor, previous: Tensor | None, *ratios: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(h, previous, *ratios)
        rows = tuple(h.new_empty(count, h.shape[1]) for count in plan.counts[:-1])
        _call("expert_inputs", plan, h.shape[1], (h, previous, ratios, rows))
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_rows: Tensor | None) -> tuple[Tensor | None, ...]:
        h, previous, *ratios = ctx.saved_tensors
        n_token, width = h.shape
        grad_h, grad_previous, sums = torch.empty_like(h, memory_format=torch.contiguous_format), None, None
        if previous is not None:
            grad_previous, sums = torch.empty_like(grad_h), h.new_empty(-(-n_token // _segment()), len(ratios), width)
        tensors = (h, previous, ratios, (None,) * len(ratios), grad_rows, grad_h, grad_previous, sums)
        _call("expert_inputs_backward", ctx.plan, width, tensors)
        of_ratios = [None] * len(ratios) if sums is None else sums.sum(0)
        learned = [None if ratio is None else grad for ratio, grad in zip(ratios, of_ratios, strict=True)]
        return None, grad_h, grad_previous, *learned


class _Outputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: DispatchPlan, weights: Tensor, *rows: Tensor) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(weights, *rows)
        mixed = weights.new_empty(len(weights), rows[0].shape[1])
        _call("expert_outputs", plan, mixed.shape[1], (rows, weights, mixed))
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, *rows = ctx.saved_tensors
        grad_rows = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in rows]
        grad_weights = torch.empty_like(weights, memory_format=torch.contiguous_format)
        tensors = (rows, weights, None, grad, grad_rows, grad_weights)
        _call("expert_outputs_backward", ctx.plan, grad.shape[1], tensors)
        return None, grad_weights, *grad_rows


@functools.cache
def _segment() -> int:
    library = load(SOURCE).library
    assert library is not None, "`serves_expert_rows` was asked before"
    return int(library.expert_rows_segment())


def _call(name: str, plan: DispatchPlan, width: int, tensors: Sequence[Tensor | Maybe | None]) -> None:
    """Packs the function's struct: the plan, then where each tensor lies, or each list of where its tensors lie."""
    if isinstance(plan.tokens, FakeTensor):
        return  # has a shape and no memory: there is nothing to compute
    function = native_function(SOURCE, name)
    assert function is not None, "`serves_expert_rows` was asked before"
    counts, held = torch.tensor([0, *plan.counts[:-1]]), list[Tensor]()
    indices = (plan.winners, plan.places, plan.tokens, counts.cumsum(0), torch.tensor(plan.served))

    def place(tensor: Tensor | None) -> int:
        if tensor is None:
            return 0
        held.append(tensor.contiguous())
        return held[-1].data_ptr()

    places = [
        place(x if x is None or isinstance(x, Tensor) else torch.tensor([place(each) for each in x]))
        for x in (*indices, *tensors)
    ]
    sizes = (*plan.winners.shape, width, len(plan.served), torch.get_num_threads())
    function(struct.pack(f"{len(sizes)}q{len(places)}P", *sizes, *places))
