"""FLOPs and bytes of single operations, and of a model's pass against the cost that it states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camoe.model.cost import model_cost
from camoe.profiling.operation_counter import Operation, OperationCounter
from camoe.profiling.simulated_step import SimulatedStep
from tests.small_run import small_run

A, B = torch.ones(6, 4), torch.ones(4, 5)
IDS = torch.tensor([1, 1, 3])
CASES = {
    "product": (lambda: A @ B, Operation(2 * 6 * 4 * 5, half=False, n_bytes=4 * (24 + 20 + 30))),
    "in bfloat16": (lambda: torch.mm(HALF_A, HALF_B), Operation(240, half=True, n_bytes=2 * (24 + 20 + 30))),
    "added to": (lambda: torch.ones(6, 5).addmm_(A, B), Operation(240, half=False, n_bytes=4 * (24 + 20 + 30 + 30))),
    "elementwise": (lambda: A.sin(), Operation(0, half=False, n_bytes=4 * 48)),
    "in place": (lambda: A.clone().sin_(), Operation(0, half=False, n_bytes=4 * 48)),
    "looked up": (lambda: B[IDS], Operation(0, half=False, n_bytes=4 * 2 * 15)),
    "expanded": (lambda: torch.ones(1, 1).expand(50, 50).sum(), Operation(0, half=False, n_bytes=8)),
}
HALF_A, HALF_B = A.bfloat16(), B.bfloat16()


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_counted(name: str) -> None:
    work, expected = CASES[name]
    with OperationCounter() as counter:
        work()
    assert counter.now[expected] >= 1


def test_a_view_is_no_operation() -> None:
    with OperationCounter() as counter:
        A.view(4, 6).transpose(0, 1)[1:].detach().unsqueeze(0)
    assert not counter.now


def test_attention_counts_scores_and_mix() -> None:
    query = torch.ones(1, 2, 8, 4, requires_grad=True)

    def attend() -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)

    with OperationCounter() as counter:
        attend().sum().backward()
    forward = 2 * 2 * (2 * 8 * 8 * 4)  # heads, scores and mix
    assert sum(operation.flops * count for operation, count in counter.lap().items()) == pytest.approx(3.5 * forward)
    assert not counter.now


def test_a_micro_batch_does_three_times_the_forward_pass() -> None:
    """Within a few percent: recurrence and norms are no products, what experts prepare once is no cost per token."""
    config = small_run(
        model={"n_embd": 128, "n_layer": 5, "head_size": 32},
        train={"ctx_len": 256, "micro_batch": 4},
    )
    run = SimulatedStep(config, "cuda")
    cost = model_cost(run.model)
    recurrence = 9 * 32 * 128 * len(run.model.blocks)
    deep = cost.flops_per_token(len(run.model.blocks), config.router.top_k) - recurrence
    counted = [*run.forward, run.head, *run.backward]
    flops = sum(operation.flops * count for part in counted for operation, count in part.items())
    assert flops == pytest.approx(3 * deep * 256 * 4, rel=0.08)
