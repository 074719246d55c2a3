"""Parts of the model for a single token, each one call of native code: what generation computes again and again.

Torch spends microseconds on every operation, which for one token is more than the operation takes. Each function here
has its reference in the module that calls it, formula for formula. `serves` says whether they may be called at all.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from camoe.kernels.native_build import load, native_function
from camoe.kernels.one_row import is_one_row
from camoe.kernels.time_mix_native import Mixed, TimeMixWeights

FOLDER = Path(__file__).resolve().parents[2] / "cuda"
TIME_MIX, MIXTURE = FOLDER / "time_mix_token_cpu.cpp", FOLDER / "mixture_token_cpu.cpp"


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether x [...,C] is a single token, computed with weights like `weight`, for the compiled code."""
    return is_one_row(x, weight) and _compiled()


@functools.cache
def _compiled() -> bool:
    return load(TIME_MIX).library is not None and load(MIXTURE).library is not None


def time_mix_token(
    x: Tensor, v_first: Tensor | None, last: Tensor, state: Tensor, w: TimeMixWeights, eps: float
) -> Mixed:
    """`time_mix_native` for x [1,1,C]."""
    ranks = [0 if first is None else first.shape[1] for first in (w.w1, w.a1, w.v1, w.g1)]
    out, v, readout, after = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x), torch.empty_like(state)
    sizes = (x.numel(), state.shape[-1], *ranks)
    _call(TIME_MIX, "time_mix_token", sizes, (eps,), (x, last, state, v_first, *w), (out, v, readout, after))
    return Mixed(out, readout, after, v if v_first is None else None)


def gate_token(h: Tensor, weights: Sequence[Tensor], *, squash: bool) -> Tensor:
    """Logits [...,E] of h [...,C]. weights: those of Gate, in its order; squash: a sigmoid at the end."""
    n_expert, hidden = weights[2].shape
    logits = h.new_empty(*h.shape[:-1], n_expert)
    _call(MIXTURE, "gate_token", (h.numel(), n_expert, hidden, squash), (), (h, *weights), (logits,))
    return logits


def elect_token(bids: Tensor, scores: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Winners and their weights [...,K], and the price [...], from bids and scores [...,E]; K <= E.

    As `elect` (priced where K < E) and `mixture_weights`.
    """
    winners = torch.empty((*bids.shape[:-1], top_k), dtype=torch.int64)
    weights, price = bids.new_empty(winners.shape), bids.new_empty(bids.shape[:-1])
    _call(MIXTURE, "elect_token", (bids.numel(), top_k), (), (bids, scores), (winners, weights, price))
    return winners, weights, price


def critic_token(h: Tensor, layers: Sequence[nn.Module], least: float, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Difficulty [...] and affinity [...,E] of h [...,C].

    layers: the feature and its norm, then the two layers of the difficulty's head and of the affinity's.
    """
    weights, norm = _parameters(layers), layers[1]
    assert isinstance(norm, nn.LayerNorm)
    n_feature, hidden, n_expert = (len(weights[place]) for place in (1, 5, 11))  # of their biases
    difficulty, affinity = h.new_empty(h.shape[:-1]), h.new_empty(*h.shape[:-1], n_expert)
    sizes = (h.numel(), n_feature, hidden, n_expert, signed)
    _call(MIXTURE, "critic_token", sizes, (norm.eps, least), (h, *weights), (difficulty, affinity))
    return difficulty, affinity


def bridge_token(
    h: Tensor, readout: Tensor, norms: tuple[nn.LayerNorm, nn.LayerNorm], compress: Tensor, to_low: Tensor
) -> Tensor:
    """Low-rank rows [1,rows] of h and readout [1,C]; norms: of the readout and of the feature."""
    low = h.new_empty(1, len(to_low))
    of_readout, of_feature = (_parameters([norm]) for norm in norms)
    given = (h, readout, *of_readout, compress, *of_feature, to_low)
    eps = (norms[0].eps, norms[1].eps)
    _call(MIXTURE, "bridge_token", (h.numel(), low.numel()), eps, given, (low,))
    return low


def feed_forward_token(h: Tensor, previous: Tensor | None, ratio: Tensor | None, key: Tensor, value: Tensor) -> Tensor:
    """The squared-ReLU network on h [1,C], shifted towards `previous` by `ratio` [C] (None: not shifted)."""
    out = torch.empty_like(h)
    _call(MIXTURE, "feed_forward_token", (h.numel(), len(key)), (), (h, previous, ratio, key, value), (out,))
    return out


class PrefixOfToken(NamedTuple):
    """What a Transformer expert attends to: low [1,P,r], the rest as in PrefixMap and PrefixFactors, rows strided."""

    low: Tensor
    gram: Tensor
    cross: Tensor
    energy: Tensor
    key: Tensor
    value: Tensor
    value_bias: Tensor


def prefix_token(h: Tensor, prefix: PrefixOfToken, weights: Sequence[Tensor], eps: float) -> Tensor:
    """Output of a Transformer expert for h [1,C]; weights: query, output, and the gate's matrix and bias."""
    low, gram, cross, energy, key, value, value_bias = prefix
    strides = (gram.stride(0), cross.stride(0), key.stride(1), value.stride(1), value_bias.stride(2))
    sizes = (h.numel(), key.shape[1], *low.shape[1:], *strides)
    query, output, *gate = weights
    of_heads = _addresses(key, value, value_bias)
    given: list[Tensor | int | None] = [h, low, *_addresses(gram, cross), energy, query, *of_heads, output, *gate]
    out = torch.empty_like(h)
    _call(MIXTURE, "prefix_token", sizes, (eps,), given, (out,))
    return out


def _parameters(layers: Iterable[nn.Module]) -> list[Tensor]:
    """Weight and bias of every layer; asking the module for them by name takes ten times as long."""
    return [weight for layer in layers for weight in layer._parameters.values() if weight is not None]


def _addresses(*tensors: Tensor) -> list[int]:
    """Of tensors that native code reads with their strides."""
    return [tensor.data_ptr() for tensor in tensors]


def _call(
    source: Path,
    name: str,
    sizes: Sequence[int],
    reals: Sequence[float],
    given: Sequence[Tensor | int | None],
    outputs: Sequence[Tensor],
) -> None:
    """Packs the function's struct: sizes, threads, reals, and where the numbers given and wanted lie (0: nowhere)."""
    function = native_function(source, name)
    assert function is not None, "`serves` was asked before"
    held = [_as_read(x) if isinstance(x, Tensor) else x or 0 for x in given]
    places = [x.data_ptr() if isinstance(x, Tensor) else x for x in (*held, *outputs)]
    layout = f"{len(sizes) + 1}q{len(reals)}d{len(places)}P"
    function(struct.pack(layout, *sizes, torch.get_num_threads(), *reals, *places))


def _as_read(x: Tensor) -> Tensor:
    return x if x.dtype is torch.float32 and x.is_contiguous() else x.float().contiguous()
