"""RWKV-7's time mixing as one differentiable operation: torch's products, everything else in native code, float32.

Between the products lie some fifty elementwise operations, each a pass through memory of its own, and autograd keeps
most of their results. Here they are three passes (cuda/time_mix_cpu.cpp), and kept are only the input, r, the products
k' and v' before anything is done to them, the recurrence's own answers and states, and the low-rank vectors; the
backward pass makes the rest again. Its reference is the torch form in camoe/model/time_mix.py.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from camoe.kernels.native_build import load, native_function
from camoe.kernels.wkv7_native import HEAD_SIZES, native_library, wkv7_gradients, wkv7_with_states

SOURCE = Path(__file__).resolve().parents[2] / "cuda" / "time_mix_cpu.cpp"
R, W, K, V, A, G = range(6)  # the order of the shifted inputs
Rows = Sequence[Tensor]  # each [B*T,C]
Pre = tuple[Tensor | None, ...]  # z_w, z_a, z_v and v_first, as far as there are any


class TimeMixWeights(NamedTuple):
    """All of a layer, in the order of native code; shapes as in official checkpoints. The first layer has no v0..v2."""

    x_r: Tensor
    x_w: Tensor
    x_k: Tensor
    x_v: Tensor
    x_a: Tensor
    x_g: Tensor
    w0: Tensor
    w1: Tensor
    w2: Tensor
    a0: Tensor
    a1: Tensor
    a2: Tensor
    v0: Tensor | None
    v1: Tensor | None
    v2: Tensor | None
    g1: Tensor
    g2: Tensor
    k_k: Tensor
    k_a: Tensor
    r_k: Tensor
    receptance: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    norm_weight: Tensor
    norm_bias: Tensor


class Mixed(NamedTuple):
    """out and sa [B,T,C], the final state [B,H,N,N]; v [B,T,C] of the first layer, which others mix with theirs."""

    out: Tensor
    sa: Tensor
    final_state: Tensor
    v: Tensor | None


def serves_time_mix(x: Tensor, weight: Tensor, size: int) -> bool:
    """Whether x [B,T,C] and weights like `weight`, with heads of this size, are for the native form."""
    return (
        x.dtype is weight.dtype is torch.float32
        and x.is_cpu
        and size in HEAD_SIZES
        and not torch.is_autocast_enabled("cpu")
        and _compiled()
    )


@functools.cache
def _compiled() -> bool:
    return load(SOURCE).library is not None and native_library().library is not None


def time_mix_native(
    x: Tensor, v_first: Tensor | None, last: Tensor, state: Tensor, weights: TimeMixWeights, eps: float
) -> Mixed:
    """Time mixing of x [B,T,C] after the input `last` [B,C] and the state [B,H,N,N]; eps is the norm's."""
    v_first = None if v_first is None else v_first.to(x.dtype)
    last, state = last.to(x.dtype), state.to(x.dtype)
    given = (x, v_first, last, state, *weights)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given):
        return Mixed(*_NativeTimeMix.apply(eps, *given))
    return _forward(eps, x, v_first, last, state, weights)[0]


class _Hidden(NamedTuple):
    """The low-rank vectors [B*T,rank]: after tanh, as they are, as they are (or none), after the sigmoid."""

    w: Tensor
    a: Tensor
    v: Tensor | None
    g: Tensor


class _Kept(NamedTuple):
    """What the backward pass starts from, beside the inputs."""

    r: Tensor
    k_raw: Tensor
    v_raw: Tensor
    hidden: _Hidden
    y: Tensor
    sa: Tensor
    states: Tensor


class _NativeTimeMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eps: float, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        x, v_first, last, state, *weights = given
        assert x is not None
        assert last is not None
        assert state is not None
        mixed, kept = _forward(eps, x, v_first, last, state, TimeMixWeights(*weights))  # type: ignore[arg-type]
        ctx.eps = eps
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, *kept[:3], *kept.hidden, *kept[4:])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        grads = _Backward(ctx).run(upstream)
        return None, *(grad if needed else None for grad, needed in zip(grads, ctx.needs_input_grad[1:], strict=True))


def _forward(
    eps: float, x: Tensor, v_first: Tensor | None, last: Tensor, state: Tensor, w: TimeMixWeights
) -> tuple[Mixed, _Kept]:
    sizes = (x.shape[0] * x.shape[1], x.shape[1], x.shape[2], state.shape[-1])
    x, last, state = x.contiguous(), last.contiguous(), state.contiguous()
    shifted = _shifted(sizes, x, last, w)
    r, k_raw, v_raw = shifted[R] @ w.receptance.T, shifted[K] @ w.key.T, shifted[V] @ w.value.T
    hidden = _Hidden(
        torch.tanh(shifted[W] @ w.w1),
        shifted[A] @ w.a1,
        None if w.v1 is None else shifted[V] @ w.v1,
        torch.sigmoid(shifted[G] @ w.g1),
    )
    del shifted
    decay, k, v, a, b = _projected(sizes, k_raw, v_raw, v_first, hidden, w)[0]
    heads = (*x.shape[:2], -1, state.shape[-1])
    y, sa, final_state, states = wkv7_with_states([t.view(heads) for t in (r, decay, k, v, a, b)], state)
    out = _answers(sizes, eps, (y, r, k, v, hidden.g @ w.g2), w) @ w.output.T
    first_values = v.view(x.shape) if v_first is None else None
    return Mixed(out.view(x.shape), sa.view(x.shape), final_state, first_values), _Kept(
        r, k_raw, v_raw, hidden, y, sa, states
    )


class _Backward:
    """The backward pass, from the output to the input; `grads` are those of the weights that are `wanted`."""

    def __init__(self, ctx: Any) -> None:
        x, self.v_first, last, _, *rest = ctx.saved_tensors
        n_weights = len(TimeMixWeights._fields)
        self.weights = TimeMixWeights(*rest[:n_weights])
        r, k_raw, v_raw, *hidden, y, sa, states = rest[n_weights:]
        self.kept = _Kept(r, k_raw, v_raw, _Hidden(*hidden), y, sa, states)
        self.x, self.last, self.eps = x.contiguous(), last.contiguous(), ctx.eps
        self.sizes = (x.shape[0] * x.shape[1], *x.shape[1:], states.shape[-1])
        needed = ctx.needs_input_grad[-n_weights:]
        self.wanted = {name for name, need in zip(TimeMixWeights._fields, needed, strict=True) if need}
        self.grads: dict[str, Tensor] = {}

    def run(self, upstream: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Gradients of x, v_first, last, the state and all weights, from those of what Mixed holds."""
        grad_out, grad_sa, grad_final, grad_first = upstream
        kept, w = self.kept, self.weights
        inputs, pre = _projected(self.sizes, kept.k_raw, kept.v_raw, self.v_first, kept.hidden, w)
        decay, k, v, a, b = inputs
        grad_y, grad_r, grad_k, grad_v, grad_gate = self._of_answers(grad_out, k, v)
        if grad_first is not None:
            grad_v += grad_first.reshape(grad_v.shape)
        by_head = [each.view(kept.y.shape) for each in (kept.r, decay, k, v, a, b)]
        more_r, *of_inputs, grad_state = wkv7_gradients(by_head, kept.sa, kept.states, (grad_y, grad_sa, grad_final))
        del by_head, inputs, decay, k, v, a, b, grad_y
        grad_r += more_r.view(grad_r.shape)
        of_raw, grad_v_first, sums = _projections_backward(
            self.sizes, kept, self.v_first, pre, w, (grad_k, grad_v), of_inputs
        )
        self.grads |= zip(("w0", "a0", "v0", "k_k", "k_a"), sums, strict=True)
        grad_zw, grad_k_raw, grad_v_raw, grad_za, grad_zv = of_raw
        grad_x, grad_last = self._of_products((grad_r, grad_k_raw, grad_v_raw), (grad_zw, grad_za, grad_zv, grad_gate))
        of_weights = (
            self.grads[name].view(weight.shape) if name in self.wanted and weight is not None else None
            for name, weight in zip(w._fields, w, strict=True)
        )
        return grad_x, grad_v_first, grad_last, grad_state, *of_weights

    def _of_answers(self, grad_out: Tensor | None, k: Tensor, v: Tensor) -> Rows:
        """Gradients of y, r, k, v and the gate."""
        kept, w = self.kept, self.weights
        if grad_out is None:
            return tuple(torch.zeros_like(kept.r) for _ in range(5))
        grad_out, rows = grad_out.reshape(kept.r.shape), (kept.y, kept.r, k, v, kept.hidden.g @ w.g2)
        if "output" in self.wanted:
            self.grads["output"] = grad_out.T @ _answers(self.sizes, self.eps, rows, w)
        grads, sums = _answers_backward(self.sizes, self.eps, rows, w, grad_out @ w.output)
        self.grads |= zip(("norm_weight", "norm_bias", "r_k"), sums, strict=True)
        return grads

    def _of_products(self, of_matrices: Rows, of_pairs: Rows) -> tuple[Tensor, Tensor]:
        """Gradients of x and `last` from those of the products: r, k', v', and z_w, z_a, z_v and the gate."""
        shifted = _shifted(self.sizes, self.x, self.last, self.weights)
        grads = torch.empty_like(shifted)
        places = ((R, "receptance"), (K, "key"), (V, "value"))
        for (place, name), grad in zip(places, of_matrices, strict=True):
            self._set(name, grad.T, shifted[place])
            torch.mm(grad, getattr(self.weights, name), out=grads[place])
        for place, letter, inner, grad in zip((W, A, V, G), "wavg", self.kept.hidden, of_pairs, strict=True):
            if inner is not None:
                self._of_pair(letter, shifted[place], inner, grad, grads[place])
        grad_x, grad_last, sums = _shifts_backward(self.sizes, self.x, self.last, self.weights, grads)
        self.grads |= zip(TimeMixWeights._fields[:6], sums, strict=True)
        return grad_x, grad_last

    def _of_pair(self, letter: str, shifted: Tensor, inner: Tensor, grad: Tensor, grad_shifted: Tensor) -> None:
        """Of one low-rank pair; its input's gradient is written, or added to that of the value matrix."""
        first, second = getattr(self.weights, f"{letter}1"), getattr(self.weights, f"{letter}2")
        self._set(f"{letter}2", inner.T, grad)
        grad_inner = grad @ second.T
        if letter == "w":
            grad_inner *= 1 - inner.square()
        elif letter == "g":
            grad_inner *= inner - inner.square()
        self._set(f"{letter}1", shifted.T, grad_inner)
        if letter == "v":
            grad_shifted.addmm_(grad_inner, first.T)
        else:
            torch.mm(grad_inner, first.T, out=grad_shifted)

    def _set(self, name: str, left: Tensor, right: Tensor) -> None:
        if name in self.wanted:
            self.grads[name] = left @ right


def _shifted(sizes: Sequence[int], x: Tensor, last: Tensor, w: TimeMixWeights) -> Tensor:
    """[6,B*T,C]."""
    shifted = x.new_empty(6, sizes[0], sizes[2])
    _call("time_mix_shifts", sizes, (), (x, last, *w[:6], shifted))
    return shifted


def _shifts_backward(
    sizes: Sequence[int], x: Tensor, last: Tensor, w: TimeMixWeights, grad_shifted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x and `last`, and of the six ratios [6,C]."""
    grad_x, grad_last, sums = torch.empty_like(x), torch.empty_like(last), _segment_sums(sizes, 6, x)
    _call("time_mix_shifts_backward", sizes, (), (x, last, *w[:6], grad_shifted, grad_x, grad_last, sums))
    return grad_x, grad_last, sums.sum(0)


def _projected(
    sizes: Sequence[int], k_raw: Tensor, v_raw: Tensor, v_first: Tensor | None, hidden: _Hidden, w: TimeMixWeights
) -> tuple[Rows, Pre]:
    """w, k, v, a, b of the recurrence, and what native code made them from."""
    z_v = None if hidden.v is None else hidden.v @ w.v2  # type: ignore[operator]
    first = None if hidden.v is None or v_first is None else v_first.contiguous()
    pre = (hidden.w @ w.w2, hidden.a @ w.a2, z_v, first)
    decay, k, a, b = (torch.empty_like(k_raw) for _ in range(4))
    v = v_raw if z_v is None else torch.empty_like(k_raw)
    _call("time_mix_projections", sizes, (), (k_raw, v_raw, *pre, *_of_projections(w), decay, k, v, a, b))
    return (decay, k, v, a, b), pre


def _projections_backward(
    sizes: Sequence[int], kept: _Kept, v_first: Tensor | None, pre: Pre, w: TimeMixWeights, more: Rows, grads: Rows
) -> tuple[list[Tensor], Tensor | None, Tensor]:
    """Gradients of z_w, k', v', z_a, z_v (written over those of w, k, v, a, b), of v_first, and of w0..k_a [5,C]."""
    grad_first = None if v_first is None else torch.empty_like(v_first, memory_format=torch.contiguous_format)
    sums, unused = _segment_sums(sizes, 5, kept.k_raw), (None,) * 5
    given = (kept.k_raw, kept.v_raw, *pre, *_of_projections(w), *unused, *more, *grads, grad_first, sums)
    _call("time_mix_projections_backward", sizes, (), given)
    return [grad.view(kept.k_raw.shape) for grad in grads], grad_first, sums.sum(0)


def _of_projections(w: TimeMixWeights) -> tuple[Tensor | None, ...]:
    return w.w0, w.a0, w.v0, w.k_k, w.k_a


def _answers(sizes: Sequence[int], eps: float, rows: Rows, w: TimeMixWeights) -> Tensor:
    """[B*T,C] from y, r, k, v, g."""
    out = torch.empty_like(rows[1])
    _call("time_mix_answers", sizes, (eps,), (*rows, w.norm_weight, w.norm_bias, w.r_k, out))
    return out


def _answers_backward(
    sizes: Sequence[int], eps: float, rows: Rows, w: TimeMixWeights, grad: Tensor
) -> tuple[Rows, Tensor]:
    """Gradients of y, r, k, v, g [B*T,C], and of norm_weight, norm_bias and r_k [3,C]."""
    grads, sums = [torch.empty_like(rows[1]) for _ in range(5)], _segment_sums(sizes, 3, grad)
    given = (*rows, w.norm_weight, w.norm_bias, w.r_k, None, grad, *grads, sums)
    _call("time_mix_answers_backward", sizes, (eps,), given)
    return tuple(grads), sums.sum(0)


def _segment_sums(sizes: Sequence[int], count: int, like: Tensor) -> Tensor:
    return like.new_empty(-(-sizes[0] // _segment()), count, sizes[2])


@functools.cache
def _segment() -> int:
    library = load(SOURCE).library
    assert library is not None, "`serves_time_mix` was asked before"
    return int(library.time_mix_segment())


def _call(name: str, sizes: Sequence[int], reals: Sequence[float], tensors: Sequence[Tensor | None]) -> None:
    """Packs the function's struct: rows (count, length, width, head size), threads, reals, places of the numbers."""
    if isinstance(tensors[0], FakeTensor):
        return  # has a shape and no memory: there is nothing to compute
    function = native_function(SOURCE, name)
    assert function is not None, "`serves_time_mix` was asked before"
    held = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    places = [0 if tensor is None else tensor.data_ptr() for tensor in held]
    layout = f"5q{len(reals)}d{len(places)}P"
    function(struct.pack(layout, *sizes, torch.get_num_threads(), *reals, *places))
