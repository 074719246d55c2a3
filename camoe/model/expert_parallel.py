"""The expert stage where each process owns some of the experts: rows go to their owners, outputs come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.expert_rows import rows_of_tokens, weighted_sum_of_rows
from camoe.kernels.row_exchange import RowExchange
from camoe.model.dispatch import plan_dispatch


def owned_experts(exchange: RowExchange, n_expert: int) -> range:
    """The experts of this process among `n_expert`, of which the number of processes is a divisor."""
    size = n_expert // exchange.count
    return range(exchange.index * size, (exchange.index + 1) * size)


def run_experts_of_owners(
    exchange: RowExchange,
    run_owned: Callable[[Tensor, Tensor], Tensor],
    n_expert: int,
    winners: Tensor,
    weights: Tensor,
    brought: Tensor,
    shared: Sequence[Tensor] = (),
) -> Tensor:
    """What `run_experts` computes, weighted sums [n,C], with the experts of all processes.

    winners, weights: [n,K]; a winner n_expert is nobody. brought: [n,D], all that tokens bring to experts. run_owned:
    from rows [m,D] and the owned expert of each [m,1], counted from the first owned, to outputs [m,C]. shared: what
    experts of some owners are made of beside their own weights.

    Counts go first, then rows, sorted by expert and so by owner. A row is an assignment: it goes once for each winner.
    """
    plan = plan_dispatch(winners, n_expert)
    *counts, idle = plan.counts
    served = sum(counts)
    sent = torch.tensor(counts, device=brought.device).view(exchange.count, -1)
    received = exchange.numbers(sent)
    going, coming = sent.sum(1).tolist(), received.sum(1).tolist()
    rows = rows_of_tokens(brought, plan.tokens, plan.places)[:served]
    if torch.is_grad_enabled() and not rows.requires_grad:
        rows.requires_grad_()  # even where an owner's experts alone learn, all take part in its backward pass
    mine = exchange.rows(rows, going, coming)
    of_row = torch.arange(received.shape[1], device=brought.device).repeat(exchange.count)
    experts = of_row.repeat_interleave(received.flatten(), output_size=len(mine))
    outputs = exchange.rows(_Tied.apply(run_owned(mine, experts[:, None]), mine, *shared), coming, going)
    nobody = outputs.new_zeros(idle, outputs.shape[1])
    return weighted_sum_of_rows(torch.cat([outputs, nobody]), weights, plan.tokens, plan.places)


class _Tied(torch.autograd.Function):
    """Outputs, with a gradient for `inputs` whatever they were made of: the backward passes of all owners agree in what
    is communicated, and when."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return outputs.view_as(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad, *(torch.zeros_like(tensor) for tensor in ctx.saved_tensors)
