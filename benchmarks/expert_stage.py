"""The expert stage: gathering, running and weighing, against nothing but the matrix products of the routed tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.gate import require, worst_error
from benchmarks.gemm_floor import floor_of, record_products
from benchmarks.published_layers import masked_experts
from benchmarks.result import Result, at_most
from benchmarks.sample import Contestant
from benchmarks.session import Session
from benchmarks.workload import products_of_a_run
from camoe.model.dispatch import TokenInputs, run_experts
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.recurrent_state import previous_tokens

ROW = "expert_stage"
LARGEST_ERROR = 1e-9  # of float64 outputs and gradients
SHAPES = ((768, 2048), (256, 2048))  # C, tokens
EXPERTS, WINNERS = 4, 2


class Stage(nn.Module):
    """Four RWKV experts, and tokens with random winners: h [1,n,C], winners and weights [1,n,K]."""

    def __init__(self, n_embd: int, tokens: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        made = [RwkvFeedForward(n_embd, 4 * n_embd, layer_id=0, n_layer=2) for _ in range(EXPERTS)]
        for expert in made:
            nn.init.normal_(expert.value.weight, std=n_embd**-0.5)
        self.experts = nn.ModuleList(made).to(dtype)
        self.h = nn.Parameter(torch.randn(1, tokens, n_embd, dtype=dtype))
        self.weights = nn.Parameter(torch.rand(1, tokens, WINNERS, dtype=dtype))
        self.winners = torch.rand(1, tokens, EXPERTS).topk(WINNERS, dim=-1).indices

    def ours(self) -> Tensor:
        """As the mixture runs it."""
        inputs = TokenInputs(self.h.flatten(0, 1), previous_tokens(self.h, None).flatten(0, 1))
        made = list(self.experts)
        return run_experts(made, self.winners.flatten(0, 1), self.weights.flatten(0, 1), inputs)  # type: ignore[arg-type]

    def published(self) -> Tensor:
        """Expert by expert behind masks."""
        return masked_experts(self.experts, None, self.h, self.h, self.winners, self.weights).flatten(0, 1)


def measure(session: Session) -> Iterator[Result]:
    """One row per shape."""
    for n_embd, tokens in session.pick(SHAPES, ((32, 16),)):
        small = Stage(n_embd, 37, torch.float64)
        error, name = worst_error(_gradients(small, small.ours), _gradients(small, small.published))
        gate = require(error, LARGEST_ERROR, f"float64 outputs and gradients (worst: {name})")
        session.say(f"expert stage, C{n_embd}")
        stage = Stage(n_embd, tokens)
        ours = partial(_gradients, stage, stage.ours)
        with products_of_a_run(tokens, n_embd):
            contestants: dict[str, Contestant] = {
                "ours": ours,
                "products alone": floor_of(record_products(ours)),
                "masks": partial(_gradients, stage, stage.published),
            }
            seconds = session.race(contestants, 4)
        yield Result(
            row=ROW,
            what=f"expert stage over its matrix products alone, forward + backward, C{n_embd}, {tokens} tokens, "
            f"{WINNERS} of {EXPERTS} RWKV experts",
            value=seconds["ours"].over(seconds["products alone"]),
            must=at_most(1.10),
            limit=1.0,
            figures=seconds,
            gate=gate,
        )


def _gradients(stage: Stage, forward: Callable[[], Tensor]) -> dict[str, Tensor]:
    """Output and the gradients of every parameter, tokens and mixture weights among them."""
    out = forward()
    parameters = dict(stage.named_parameters())
    return {
        "out": out,
        **dict(zip(parameters, torch.autograd.grad(out, list(parameters.values()), out.detach()), strict=True)),
    }
