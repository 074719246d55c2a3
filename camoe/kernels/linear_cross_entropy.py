"""Head and cross-entropy in one operation: logits exist for a few rows at a time, gradients are formed on the way."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

IGNORED = -100

# Rows of one chunk: enough to keep the matrix products busy, and as many as fit this number of logits.
LEAST_CHUNK_ROWS = 256
CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**28}
# On a CPU the softmax of a chunk runs in blocks of rows that stay in the second-level cache (2 MiB of float32).
CACHED_LOGITS = 2**19


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of targets [N] under the logits hidden @ weight.T, in nats: the sum [], and every token's [N].

    hidden [N,C], weight [V,C]. A target of -100 counts 0. Only the sum carries gradients, to hidden and weight.
    Products are computed in autocast's dtype where it is on, softmax and sums in float32 (float64 for such inputs).
    Same result as `linear_cross_entropy_reference`, with the logits of `chunk_rows` rows in memory instead of twice N.
    """
    dtype = hidden.dtype
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
    return _LinearCrossEntropy.apply(hidden, weight, targets, dtype, torch.is_grad_enabled())


def linear_cross_entropy_reference(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The same from all logits at once; the cross-entropies of the tokens carry gradients too."""
    logits = F.linear(hidden, weight)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    token_loss = F.cross_entropy(wide, targets, ignore_index=IGNORED, reduction="none")
    return token_loss.sum(), token_loss


class _Sweep(NamedTuple):
    """Cross-entropies [N], and the gradients of their sum that were asked for."""

    token_loss: Tensor
    grad_hidden: Tensor | None
    grad_weight: Tensor | None


class _LinearCrossEntropy(torch.autograd.Function):
    """The forward pass leaves the gradients behind; the backward pass scales them in place and gives them away.

    A second backward pass through the same graph forms them again.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, learns: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.dtype, ctx.wanted = dtype, tuple(learns and needed for needed in ctx.needs_input_grad[:2])
        ctx.save_for_backward(hidden, weight, targets)
        sweep = _sweep(hidden, weight, targets, dtype, ctx.wanted)
        ctx.gradients = sweep.grad_hidden, sweep.grad_weight
        ctx.mark_non_differentiable(sweep.token_loss)
        return sweep.token_loss.sum(), sweep.token_loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            hidden, weight, targets = ctx.saved_tensors
            _, *gradients = _sweep(hidden, weight, targets, ctx.dtype, ctx.wanted)
        scaled = (None if gradient is None else gradient.mul_(upstream[0]) for gradient in gradients)
        return (*scaled, None, None, None)


@torch.no_grad()
def _sweep(hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, wanted: tuple[bool, bool]) -> _Sweep:
    """One pass over the rows, a chunk at a time.

    A chunk's logits become U = exp(logit - max), then U - s at the target, s being the row's sum: its gradient times s.
    Dividing the thin factors by s instead of the logits saves a pass over them.
    """
    wide = torch.promote_types(dtype, torch.float32)
    product_weight = weight.to(dtype)
    token_loss = torch.empty(len(hidden), dtype=wide, device=hidden.device)
    grad_hidden = torch.empty_like(hidden) if wanted[0] else None
    grad_weight = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, wide)) if wanted[1] else None
    rows = min(len(hidden), chunk_rows(len(weight), hidden.device.type))
    products = torch.empty(rows, len(weight), dtype=dtype, device=hidden.device)
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, len(hidden), max(rows, 1)):
            chunk = slice(start, start + rows)
            vectors, target = hidden[chunk].to(dtype), targets[chunk, None]
            torch.mm(vectors, product_weight.T, out=products[: len(vectors)])
            scores = products[: len(vectors)].to(wide)
            real = target != IGNORED
            loss, total = _exponentiate(scores, target.where(real, 0), wanted != (False, False))
            token_loss[chunk] = loss.where(real, 0).squeeze(1)
            scores, per_row = scores.to(dtype), total.reciprocal().where(real, 0)
            if grad_hidden is not None:
                grad_hidden[chunk] = torch.mm(scores, product_weight) * per_row
            if grad_weight is not None:
                _add_product(grad_weight, scores.T, (vectors * per_row).to(dtype))
    return _Sweep(token_loss, grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype))


def chunk_rows(n_vocab: int, device_type: str) -> int:
    """Rows whose logits exist at the same time."""
    return max(LEAST_CHUNK_ROWS, CHUNK_LOGITS.get(device_type, CHUNK_LOGITS["cuda"]) // n_vocab)


def _exponentiate(scores: Tensor, target: Tensor, subtract_target: bool) -> tuple[Tensor, Tensor]:
    """Overwrites logits [n,V] by U, minus the row's sum at target [n,1]; returns losses and sums [n,1]."""
    cached = scores.device.type == "cpu" and not isinstance(scores, FakeTensor)  # no memory, no cache
    block = max(1, CACHED_LOGITS // scores.shape[1]) if cached else max(1, len(scores))
    losses, totals = [], []
    for part, index in zip(scores.split(block), target.split(block), strict=True):
        largest, chosen = part.amax(1, keepdim=True), part.gather(1, index)
        total = part.sub_(largest).exp_().sum(1, keepdim=True)
        if subtract_target:
            part.scatter_add_(1, index, -total)
        losses.append(total.log() + (largest - chosen))
        totals.append(total)
    return torch.cat(losses), torch.cat(totals)


def _add_product(accumulator: Tensor, left: Tensor, right: Tensor) -> None:
    """accumulator += left @ right, added up in the accumulator's dtype."""
    if left.dtype == accumulator.dtype:
        accumulator.addmm_(left, right)
    else:
        accumulator += torch.mm(left, right)
