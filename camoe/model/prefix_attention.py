"""Attention of one query per head to a low-rank prefix: what happens token by token, without keys and values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from camoe.kernels.without_autocast import without_autocast
from camoe.model.derived_weights import wants_gradient
from camoe.model.prefix_map import PrefixMap


def attend(projected: Tensor, low: Tensor, prefix_map: PrefixMap) -> Tensor:
    """Coefficients [n,H,r+P] of the heads' outputs over the prefix map's basis.

    projected: [n,H,r+P] products of each head's query with its keys' factors, over sqrt(D). low: [n,P,r] rows of the
    tokens. score_hp = (projected_h,U . low_p + projected_h,p) / deviation_p; beta = softmax_p(score) / deviation; the
    coefficients are [sum_p beta_hp low_p ; beta_h]. Deviations and softmax are computed in the map's precision.
    """
    inputs = (projected, low, prefix_map.gram, prefix_map.cross, prefix_map.energy, prefix_map.eps)
    if wants_gradient(inputs[:-1]):
        coefficients: Tensor = _Attend.apply(*inputs)
        return coefficients
    with without_autocast(low.device.type):
        return _forward(*inputs)[0]


class _Attend(torch.autograd.Function):
    """Keeps [n,H,P] scores and [n,P] deviations beside inputs and output; everything else is computed again."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        with without_autocast(inputs[0].device.type):
            coefficients, scores, inverse = _forward(*inputs)
        projected, low, gram, cross = inputs[:4]
        ctx.save_for_backward(projected, low, gram, cross, coefficients, scores, inverse)
        return coefficients

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        projected, low, gram, cross, coefficients, scores, inverse = ctx.saved_tensors
        rank = low.shape[-1]
        with without_autocast(low.device.type):
            beta = coefficients[..., rank:]
            grad_mix = grad[..., :rank]
            grad_beta = torch.baddbmm(grad[..., rank:], grad_mix, low.mT)
            grad_scores, grad_variance = _grad_softmax(grad_beta, beta, scores, inverse)
            grad_scores = grad_scores.to(low.dtype)
            grad_projected = torch.cat((torch.bmm(grad_scores, low), grad_scores), dim=-1)
            grad_low = torch.bmm(beta.mT, grad_mix).baddbmm_(grad_scores.mT, projected[..., :rank])
            grad_map = _grad_variance(grad_variance, low, gram, cross, grad_low)
        return grad_projected, grad_low, *grad_map, None


def _forward(
    projected: Tensor, low: Tensor, gram: Tensor, cross: Tensor, energy: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients, scores [n,H,P] before the division by the deviation, inverse deviations [n,P]."""
    rank = low.shape[-1]
    inverse = _inverse_deviation(low, gram, cross, energy, eps)
    scores = torch.baddbmm(projected[..., rank:], projected[..., :rank], low.mT)
    beta = torch.softmax(scores * inverse[:, None], dim=-1).mul_(inverse[:, None]).to(low.dtype)
    return torch.cat((torch.bmm(beta, low), beta), dim=-1), scores, inverse


def _inverse_deviation(low: Tensor, gram: Tensor, cross: Tensor, energy: Tensor, eps: float) -> Tensor:
    """[n,P] in the precision of the map; rounding may not make a variance negative."""
    low = low.to(gram.dtype)
    variance = (low @ gram).add_(cross, alpha=2).mul_(low).sum(-1).add_(energy)
    return variance.clamp_min_(eps).rsqrt_()


def _grad_softmax(grad_beta: Tensor, beta: Tensor, scores: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the scores [n,H,P] and of the variances [n,P]; probabilities are beta times the deviation."""
    weighted = grad_beta * beta
    grad_scores = torch.addcmul(weighted * inverse[:, None], beta, weighted.sum(-1, keepdim=True), value=-1)
    grad_variance = (weighted + grad_scores * scores).sum(1) * inverse.square() * -0.5
    return grad_scores, grad_variance


def _grad_variance(
    grad: Tensor, low: Tensor, gram: Tensor, cross: Tensor, grad_low: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gram, cross and energy from those of the variances [n,P]; adds that of low to `grad_low`."""
    doubled = 2 * grad[..., None]
    weighted = doubled * low
    grad_low.add_((weighted @ gram).addcmul_(doubled, cross))
    flat = weighted.flatten(0, 1)
    return flat.T @ low.flatten(0, 1).to(flat.dtype) / 2, weighted.sum(0), grad.sum(0)
