"""WKV-7 by chunks: all tokens of all chunks at once, and one small matrix product per chunk in sequence.

Within a chunk that starts from state S, with P_t the product of the decays w_1..w_t, scale every token's vectors:

    a~_t = a_t P_{t-1},  r~_t = r_t P_t,  b^_t = b_t / P_t,  k^_t = k_t / P_t

Each token reads the state along a~ (before its own update) and r~ (after it), and writes sa b^T and v k^T to it. Stack
reads R = [A~; R~], writes K = [B^; K^] and values D = [SA; V] (2c x N each); let G = R K^T, masked to the past
(strictly for the a~ rows). With X = S^T, and G_a, G_r the rows of a~ and r~:

    SA = A~ X + G_a D            -> unit lower-triangular in SA, solved for all chunks in parallel
    Y  = R~ X + G_r D
    X' = P_c * (X + K^T D) = M X + (a part without X),   M = P_c * (I + B^^T W),   W = (I - G_ab)^-1 A~

Only X' = M X + ... is sequential. The backward pass has the same shape: with Delta = [Lambda; dY] in the place of D,
the gradient of X runs back through M^T, Lambda solves the transposed triangular system, and

    dG = mask * Delta D^T,   dR = Delta X^T + dG K,   dK = D dX'^T P_c + dG^T R.

The triangular system is solved by substitution: inverting I - G_ab by repeated squaring overflows when keys repeat.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def wkv7_chunked(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, chunk_len: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs [B,T,H,N], state [B,H,N,N], one dtype; returns (y [B,T,H,N], sa [B,T,H,N], final state).

    Chunks hold at most `chunk_len` tokens. The last one is filled up with tokens that leave the state as it is.
    """
    n_tokens = r.shape[1]
    n_chunks = -(-n_tokens // chunk_len)
    chunk_len = -(-n_tokens // n_chunks)
    missing = n_chunks * chunk_len - n_tokens
    if missing:
        r, k, v, a, b = (functional.pad(x, (0, 0, 0, 0, 0, missing)) for x in (r, k, v, a, b))
        w = functional.pad(w, (0, 0, 0, 0, 0, missing), value=1.0)
    y, sa, state = _ChunkedWkv7.apply(r, w, k, v, a, b, state, chunk_len)
    return (y[:, :n_tokens], sa[:, :n_tokens], state) if missing else (y, sa, state)


class _ChunkedWkv7(torch.autograd.Function):
    """Shapes inside: n chunks of c tokens; Z = n*B*H matrices, chunk-major, so that one chunk is contiguous."""

    @staticmethod
    def forward(
        ctx: Any, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, chunk_len: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        c, size = chunk_len, r.shape[-1]
        decay = _decay_products(_to_chunks(w, c))
        reads, writes, values = _scaled_vectors(decay, *(_to_chunks(x, c) for x in (r, k, v, a, b)))
        mask = _past_mask(c, r)
        scores = torch.bmm(reads, writes.mT).mul_(mask)
        inverse = _unit_lower_inverse(scores[:, :c, :c])
        solved_reads = torch.bmm(inverse, reads[:, :c])
        values[:, :c] = torch.bmm(inverse, torch.bmm(scores[:, :c, c:], values[:, c:]))

        chunk_decay = decay[..., -1, :].reshape(-1, size, 1)
        transition = torch.bmm(writes[:, :c].mT, solved_reads)
        transition.diagonal(dim1=1, dim2=2).add_(1)
        transition.mul_(chunk_decay)
        states = _states_buffer(len(decay), state, first=0)
        torch.bmm(writes.mT, values, out=states[1:].flatten(0, 1)).mul_(chunk_decay)
        for chunk, step in enumerate(transition.view_as(states[1:])):
            states[chunk + 1].baddbmm_(step, states[chunk])

        starts = states[:-1].flatten(0, 1)
        values[:, :c].baddbmm_(solved_reads, starts)
        y = torch.bmm(reads[:, c:], starts).baddbmm_(scores[:, c:], values)
        ctx.chunk_len = c
        ctx.save_for_backward(w, decay, reads, writes, values, mask, scores, inverse, solved_reads, transition, states)
        final_state = states[-1].mT.contiguous()  # a copy: the caller's state must not keep the whole buffer alive
        return _from_chunks(y, r), _from_chunks(values[:, :c], r), final_state.view_as(state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_sa: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad_y.device.type, enabled=False):
            return (*_gradients(ctx.saved_tensors, ctx.chunk_len, grad_y, grad_sa, grad_final), None)


def _gradients(
    saved: tuple[Tensor, ...], chunk_len: int, grad_y: Tensor, grad_sa: Tensor, grad_final: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of r, w, k, v, a, b [B,T,H,N] and of the initial state [B,H,N,N]."""
    w, decay, reads, writes, values, mask, scores, inverse, solved_reads, transition, states = saved
    c, size = chunk_len, w.shape[-1]
    delta = torch.empty_like(values)
    delta.view(*decay.shape[:3], 2 * c, size)[..., c:, :] = _to_chunks(grad_y, c)
    grad_out = delta[:, c:]
    grad_values = torch.bmm(scores[:, c:].mT, grad_out)
    grad_values.view(*decay.shape[:3], 2 * c, size)[..., :c, :] += _to_chunks(grad_sa, c)

    grad_states = _states_buffer(len(decay), grad_final, first=-1)
    inflow = torch.bmm(reads[:, c:].mT, grad_out, out=grad_states[:-1].flatten(0, 1))
    inflow.baddbmm_(solved_reads.mT, grad_values[:, :c])
    steps_back = transition.view_as(states[1:]).mT
    for chunk in reversed(range(len(decay))):
        grad_states[chunk].baddbmm_(steps_back[chunk], grad_states[chunk + 1])
    grad_ends = grad_states[1:].flatten(0, 1)
    grad_chunk_log_decay = (states[1:].flatten(0, 1) * grad_ends).sum(-1)
    grad_ends = grad_ends * decay[..., -1, :].reshape(-1, size, 1)

    grad_values.baddbmm_(writes, grad_ends)
    torch.bmm(inverse.mT, grad_values[:, :c], out=delta[:, :c])
    grad_v = grad_values[:, c:].baddbmm(scores[:, :c, c:].mT, delta[:, :c])
    # In the decay's gradient the two products below nearly cancel; float64 here keeps its error under 1e-6.
    grad_scores = torch.bmm(delta, values.mT).mul_(mask).double()
    grad_reads = torch.bmm(grad_scores, writes.double()).to(w.dtype)
    grad_reads.baddbmm_(delta, states[:-1].flatten(0, 1).mT)
    grad_writes = torch.bmm(grad_scores.mT, reads.double()).to(w.dtype)
    grad_writes.baddbmm_(values, grad_ends.mT)

    grad_log_w = _log_decay_gradient(grad_reads * reads, grad_writes * writes, grad_chunk_log_decay)
    before, after = decay[..., :-1, :].flatten(0, 2), decay[..., 1:, :].flatten(0, 2)
    by_token = (
        grad_reads[:, c:].mul_(after),
        grad_log_w,
        grad_writes[:, c:].div_(after),
        grad_v,
        grad_reads[:, :c].mul_(before),
        grad_writes[:, :c].div_(after),
    )
    grad_r, grad_log_w, grad_k, grad_v, grad_a, grad_b = (_from_chunks(x, w) for x in by_token)
    grad_state = grad_states[0].mT.reshape_as(grad_final)
    return grad_r, grad_log_w.div_(w), grad_k, grad_v, grad_a, grad_b, grad_state


def _to_chunks(x: Tensor, chunk_len: int) -> Tensor:
    """[B,T,H,N] -> a view [n,B,H,c,N]."""
    return x.unflatten(1, (-1, chunk_len)).permute(1, 0, 3, 2, 4)


def _from_chunks(x: Tensor, like: Tensor) -> Tensor:
    """[n*B*H,c,N] -> [B,T,H,N], the shape of `like`."""
    n_batch, _, n_head, _ = like.shape
    return x.unflatten(0, (-1, n_batch, n_head)).permute(1, 0, 3, 2, 4).reshape(like.shape)


def _decay_products(w: Tensor) -> Tensor:
    """w [n,B,H,c,N] -> P [n,B,H,c+1,N]: P_0 = 1, P_t = w_1 ... w_t within the chunk."""
    products = w.new_empty(*w.shape[:3], w.shape[3] + 1, w.shape[4])
    products[..., 0, :] = 1
    for t in range(w.shape[3]):
        torch.mul(products[..., t, :], w[..., t, :], out=products[..., t + 1, :])
    return products


def _scaled_vectors(
    decay: Tensor, r: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Reads [A~; R~], writes [B^; K^] and values [SA; V], each [Z,2c,N]; the rows of SA are still to be filled."""
    c = r.shape[3]
    before, after = decay[..., :-1, :], decay[..., 1:, :]
    reads, writes, values = (r.new_empty(*r.shape[:3], 2 * c, r.shape[4]) for _ in range(3))
    torch.mul(a, before, out=reads[..., :c, :])
    torch.mul(r, after, out=reads[..., c:, :])
    torch.div(b, after, out=writes[..., :c, :])
    torch.div(k, after, out=writes[..., c:, :])
    values[..., c:, :] = v
    return reads.flatten(0, 2), writes.flatten(0, 2), values.flatten(0, 2)


def _past_mask(chunk_len: int, like: Tensor) -> Tensor:
    """[2c,2c], 1 where a read sees a write: reads along a see earlier tokens, reads along r also their own."""
    ones = torch.ones(chunk_len, chunk_len, dtype=like.dtype, device=like.device)
    return torch.cat([ones.tril(-1).repeat(1, 2), ones.tril().repeat(1, 2)])


def _unit_lower_inverse(strictly_lower: Tensor) -> Tensor:
    """(I - L)^-1 for L [Z,c,c] by substitution; applying it twice by GEMM is cheaper than two wide solves."""
    identity = torch.eye(strictly_lower.shape[-1], dtype=strictly_lower.dtype, device=strictly_lower.device)
    system = identity - strictly_lower
    return torch.linalg.solve_triangular(system, identity.expand_as(system), upper=False, unitriangular=True)


def _states_buffer(n_chunks: int, state: Tensor, first: int) -> Tensor:
    """Room for n+1 transposed states [n+1,B*H,N,N] with `state` [B,H,N,N] at index `first`."""
    matrices = state.flatten(0, 1)
    buffer = state.new_empty(n_chunks + 1, *matrices.shape)
    buffer[first] = matrices.mT
    return buffer


def _log_decay_gradient(from_reads: Tensor, from_writes: Tensor, from_end: Tensor) -> Tensor:
    """d loss / d log w [Z,c,N] from each vector times its own gradient, [Z,2c,N], and from the chunk's end, [Z,N].

    Log P_t gains r~ dr~ - b^ db^ - k^ dk^ of token t and a~ da~ of token t+1; log w_t collects them from t to the end.
    """
    c = from_reads.shape[1] // 2
    gain = from_reads[:, c:] - from_writes[:, :c] - from_writes[:, c:]
    gain[:, :-1] += from_reads[:, 1:c]
    gain[:, -1] += from_end
    for t in reversed(range(c - 1)):
        gain[:, t] += gain[:, t + 1]
    return gain
