"""Running every expert on just the tokens it won: sort once, run contiguous segments, gather back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.kernels.dispatch_plan import plan_dispatch
from camoe.kernels.expert_rows import expert_inputs, mix_outputs
from camoe.kernels.grouped_products import RowGroups
from camoe.kernels.row_multiple import row_multiple
from camoe.kernels.without_autocast import without_autocast
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.prefix_map import PrefixMap


@dataclass(frozen=True)
class TokenInputs:
    """What the n tokens of a layer bring to its experts.

    h, previous: [n,C] hidden vectors and those of the tokens before. make_low: maps token indices [m] (None: all) to
    low-rank rows [m,P,r]; of one group of them only where it is given one. prefix_map: how rows become
    the prefix. Both None where no expert of the mix needs a prefix.
    """

    h: Tensor
    previous: Tensor
    make_low: Callable[[Tensor | None, RowGroups | None], Tensor] | None = None
    prefix_map: PrefixMap | None = None


def run_experts(experts: Sequence[Expert], winners: Tensor, weights: Tensor, inputs: TokenInputs) -> Tensor:
    """Weighted sums [n,C] of the outputs of each token's winners [n,K], with weights [n,K].

    A winner with the number of experts as its index is nobody: its weight has to be 0.

    Low-rank rows are made once, for the tokens of the experts that need them. An expert's non-finite output reaches
    only the tokens it won.
    """
    if len(winners) == 1 and not torch.is_grad_enabled():
        return _run_for_one_token(experts, winners[0].tolist(), weights, inputs)
    multiple = row_multiple(winners.numel(), winners.device.type)
    plan = plan_dispatch(winners, len(experts), multiple)
    segments = plan.tokens.split(plan.counts)[: len(experts)]
    low = _LowRowsOfTokens(experts, segments, inputs, multiple)
    rows = expert_inputs(inputs.h, inputs.previous, [expert.token_shift for expert in experts], plan)
    outputs = [
        expert(x, ExpertContext(None, low.of(tokens) if expert.needs_prefix else None, inputs.prefix_map))
        for expert, x, tokens in zip(experts, rows, segments, strict=True)
    ]
    return mix_outputs(outputs, weights, plan)


def _run_for_one_token(
    experts: Sequence[Expert], winners: Sequence[int], weights: Tensor, inputs: TokenInputs
) -> Tensor:
    """`run_experts` for a single token without gradients, the step of generation: nothing to sort."""
    serves = [index < len(experts) for index in winners]
    serving, low = [experts[index] for index in winners if index < len(experts)], None
    if not all(serves):
        weights = weights[:, serves]
    if not serving:
        return torch.zeros_like(inputs.h)
    if inputs.make_low is not None and any(expert.needs_prefix for expert in serving):
        low = inputs.make_low(None, None)
    context = ExpertContext(inputs.previous, low, inputs.prefix_map)
    outputs = torch.cat([expert(inputs.h, context) for expert in serving])
    with without_autocast(weights.device.type):
        return weights @ outputs.to(weights.dtype)


class _LowRowsOfTokens:
    """Low-rank rows made once for every token that some prefix expert won, even if several won it."""

    def __init__(
        self, experts: Sequence[Expert], segments: Sequence[Tensor], inputs: TokenInputs, multiple: int
    ) -> None:
        wanted = [tokens for expert, tokens in zip(experts, segments, strict=True) if expert.needs_prefix]
        if inputs.make_low is None or not wanted:
            return
        # The only such expert's tokens rise already.
        self.row_of_token: Tensor | None = None
        if len(wanted) == 1:
            self.rows = inputs.make_low(wanted[0], None)
            return
        chosen = torch.zeros(len(inputs.h), dtype=torch.bool, device=inputs.h.device)
        chosen[torch.cat(wanted)] = True
        tokens = chosen.nonzero().squeeze(1)
        self.rows = inputs.make_low(torch.cat((tokens, tokens[-1:].expand(-len(tokens) % multiple))), None)
        self.row_of_token = chosen.cumsum(0) - 1

    def of(self, tokens: Tensor) -> Tensor:
        """Rows [m,P,r] of the tokens [m] of one of the experts."""
        return self.rows if self.row_of_token is None else self.rows[self.row_of_token[tokens]]
