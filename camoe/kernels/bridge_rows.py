"""The bridge's way from hidden vectors and state readouts to low-rank rows as one differentiable operation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from camoe.kernels.grouped_products import product, product_over_rows, product_with_weight, to_product_dtype
from camoe.kernels.without_autocast import without_autocast


def bridge_rows(
    h: Tensor,
    readout: Tensor,
    tokens: Tensor | None,
    readout_norm: nn.LayerNorm,
    compress: Tensor,
    feature_norm: nn.LayerNorm,
    to_low: Tensor,
) -> Tensor:
    """GELU(LN([h ; LN(readout)] compress^T)) to_low^T of `tokens` [m], of all where None: [m,P*r].

    h, readout [n,C], compress [2C,2C], to_low [P*r,2C]. Beside its inputs it keeps what leaves `compress`, [m,2C],
    a quarter of what autograd would. What lies around is made again in the backward pass.
    """
    compress, to_low = to_product_dtype(compress, to_low)
    norms = (readout_norm.weight, readout_norm.bias, feature_norm.weight, feature_norm.bias)
    with without_autocast(h.device.type):
        rows: Tensor = _BridgeRows.apply(
            h, readout, tokens, compress, to_low, *norms, (readout_norm.eps, feature_norm.eps)
        )
    return rows


def bridge_rows_reference(
    h: Tensor, readout: Tensor, readout_norm: nn.LayerNorm, compress: Tensor, feature_norm: nn.LayerNorm, to_low: Tensor
) -> Tensor:
    """The same of all tokens, formula by formula."""
    joined = torch.cat((h, readout_norm(readout)), dim=-1)
    return F.gelu(feature_norm(joined @ compress.T)) @ to_low.T


class _BridgeRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        h, readout, tokens, compress, to_low, *norms, eps = given
        ctx.eps = eps
        joined = _joined(h, _normed(_selected(readout, tokens), norms[:2], eps[0])[0], tokens)
        compressed = product(joined.to(compress.dtype), compress, None)
        feature = F.gelu(_normed(compressed, norms[2:], eps[1])[0])
        ctx.save_for_backward(h, readout, tokens, compress, to_low, *norms, compressed)
        return product(feature.to(to_low.dtype), to_low, None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, readout, tokens, compress, to_low, *norms, compressed = ctx.saved_tensors
        normed, *statistics = _normed(compressed, norms[2:], ctx.eps[1])
        grad_to_low = product_over_rows(grad, F.gelu(normed).to(grad.dtype), None)
        grad_normed = torch.ops.aten.gelu_backward(product_with_weight(grad, to_low, None).to(normed.dtype), normed)
        grad_compressed, *of_feature_norm = _norm_backward(grad_normed, compressed, statistics, norms[2:])
        del normed, grad_normed
        chosen = _selected(readout, tokens)
        normed, *statistics = _normed(chosen, norms[:2], ctx.eps[0])
        grad_compressed = grad_compressed.to(compress.dtype)
        joined = _joined(h, normed, tokens).to(compress.dtype)
        grad_compress = product_over_rows(grad_compressed, joined, None)
        grad_h, grad_normed = product_with_weight(grad_compressed, compress, None).to(normed.dtype).chunk(2, dim=-1)
        grad_readout, *of_readout_norm = _norm_backward(grad_normed.contiguous(), chosen, statistics, norms[:2])
        of_tokens = _to_all(grad_h, h, tokens), _to_all(grad_readout, readout, tokens)
        return *of_tokens, None, grad_compress, grad_to_low, *of_readout_norm, *of_feature_norm, None


def _selected(x: Tensor, tokens: Tensor | None) -> Tensor:
    return x if tokens is None else x.index_select(0, tokens)


def _to_all(grad: Tensor, x: Tensor, tokens: Tensor | None) -> Tensor:
    """The gradient of x from that of what `_selected` made of it."""
    grad = grad.to(x.dtype)
    return grad if tokens is None else torch.zeros_like(x).index_add_(0, tokens, grad)


def _joined(h: Tensor, normed: Tensor, tokens: Tensor | None) -> Tensor:
    return torch.cat((_selected(h, tokens).to(normed.dtype), normed), dim=-1)


def _normed(x: Tensor, norm: list[Tensor], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm in its weights' type; and the rows' means and inverse deviations."""
    weight, bias = norm
    normed: tuple[Tensor, Tensor, Tensor] = torch.native_layer_norm(x.to(weight.dtype), x.shape[-1:], weight, bias, eps)
    return normed


def _norm_backward(
    grad: Tensor, x: Tensor, statistics: list[Tensor], norm: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, the weight and the bias."""
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_layer_norm_backward(
        grad, x.to(norm[0].dtype), x.shape[-1:], *statistics, *norm, [True, True, True]
    )
    return grads
