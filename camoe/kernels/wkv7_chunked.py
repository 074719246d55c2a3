"""WKV-7 by chunks: a few matrix products per chunk of tokens instead of vector operations per token.

Within a chunk that starts from state S, with P_t the product of the decays w_1..w_t, scale every token's vectors:

    a~_t = a_t P_{t-1},  r~_t = r_t P_t,  b^_t = b_t / P_t,  k^_t = k_t / P_t

Each token reads the state along a~ (before its own update) and r~ (after it), and writes sa b^T and v k^T to it. Stack
reads R = [A~; R~], writes K = [B^; K^] and values D = [SA; V] (2c x N each); let G = R K^T, masked to the past
(strictly for the a~ rows). With X = S^T, and G_a, G_r the rows of a~ and r~:

    SA = A~ X + G_a D      unit lower-triangular in SA
    Y  = R~ X + G_r D
    X' = P_c * (X + K^T D)

The backward pass has the same shape. With Delta = [Lambda; dY] in the place of D and E = P_c * dX':

    dD = G_r^T dY + K E + [dSA; 0],   Lambda = (I - G_ab)^-T dD_sa,   dV = dD_v + G_ak^T Lambda
    dX = E + R^T Delta,   dG = mask * Delta D^T,   dR = Delta X^T + dG K,   dK = D E^T + dG^T R

The triangular system is solved by substitution: inverting I - G_ab by repeated squaring overflows when keys repeat.
Scaling runs over all chunks at once; the products go chunk by chunk, whose matrices (one per batch row and head) stay
in the cache: up to twice as fast on a CPU as first reducing every chunk to one transition matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_WIDE = torch.float64


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
    """Inside, [n,Z,...] stands for n chunks of c tokens and the Z = B*H matrices of each."""

    @staticmethod
    def forward(
        ctx: Any, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor, chunk_len: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        c, size = chunk_len, r.shape[-1]
        decay = _decay_products(_to_chunks(w, c))
        reads, writes, values = _scaled_vectors(decay, *(_to_chunks(x, c) for x in (r, k, v, a, b)))
        n_chunks, n_matrices = reads.shape[:2]
        chunk_decay = decay[..., -1, :].reshape(n_chunks, n_matrices, size, 1)
        mask = _past_mask(c, r)
        identity = torch.eye(c, dtype=r.dtype, device=r.device).expand(n_matrices, c, c)
        y = r.new_empty(n_chunks, n_matrices, c, size)
        scores = r.new_empty(n_chunks, n_matrices, 2 * c, 2 * c)
        inverse = r.new_empty(n_chunks, n_matrices, c, c)
        states = r.new_empty(n_chunks + 1, n_matrices, size, size)
        states[0] = state.flatten(0, 1).mT
        for n in range(n_chunks):
            score, value = scores[n], values[n]
            torch.bmm(reads[n], writes[n].mT, out=score).mul_(mask)
            system = identity - score[:, :c, :c]
            torch.linalg.solve_triangular(system, identity, upper=False, unitriangular=True, out=inverse[n])
            read = torch.bmm(reads[n], states[n])
            value[:, :c] = torch.bmm(inverse[n], read[:, :c].baddbmm_(score[:, :c, c:], value[:, c:]))
            torch.baddbmm(read[:, c:], score[:, c:], value, out=y[n])
            torch.baddbmm(states[n], writes[n].mT, value, out=states[n + 1]).mul_(chunk_decay[n])
        ctx.save_for_backward(w, decay, reads, writes, values, mask, scores, inverse, states)
        final_state = states[-1].mT.contiguous()  # a copy: the caller's state must not keep the whole buffer alive
        return _from_chunks(y, r), _from_chunks(values[:, :, :c], r), final_state.view_as(state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_sa: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad_y.device.type, enabled=False):
            return (*_gradients(ctx.saved_tensors, grad_y, grad_sa, grad_final), None)


def _gradients(saved: tuple[Tensor, ...], grad_y: Tensor, grad_sa: Tensor, grad_final: Tensor) -> tuple[Tensor, ...]:
    """Gradients of r, w, k, v, a, b [B,T,H,N] and of the initial state [B,H,N,N]."""
    w, decay, reads, writes, values, mask, scores, inverse, states = saved
    n_chunks, n_matrices, c, size = inverse.shape[:3] + w.shape[-1:]
    chunk_decay = decay[..., -1, :].reshape(n_chunks, n_matrices, size, 1)
    delta = torch.cat((_to_chunks(grad_sa, c), _to_chunks(grad_y, c)), dim=3).flatten(1, 2)
    # In the decay's gradient those of reads and writes nearly cancel: in float64 its error stays under 1e-6.
    grad_reads, grad_writes = torch.empty_like(reads, dtype=_WIDE), torch.empty_like(writes, dtype=_WIDE)
    grad_v = w.new_empty(n_chunks, n_matrices, c, size)
    grad_chunk_log_decay = w.new_empty(n_chunks, n_matrices, size, dtype=_WIDE)
    grad_state = grad_final.flatten(0, 1).mT.clone(memory_format=torch.contiguous_format)
    for n in reversed(range(n_chunks)):
        read, write, value, score, delta_n = reads[n], writes[n], values[n], scores[n], delta[n]
        torch.sum(states[n + 1] * grad_state.to(_WIDE), -1, out=grad_chunk_log_decay[n])
        grad_end = grad_state.mul_(chunk_decay[n])
        grad_value = torch.bmm(score[:, c:].mT, delta_n[:, c:]).baddbmm_(write, grad_end)
        delta_n[:, :c] = torch.bmm(inverse[n].mT, grad_value[:, :c].add_(delta_n[:, :c]))
        torch.baddbmm(grad_value[:, c:], score[:, :c, c:].mT, delta_n[:, :c], out=grad_v[n])
        grad_score = torch.bmm(delta_n, value.mT).mul_(mask).to(_WIDE)
        torch.bmm(grad_score, write.to(_WIDE), out=grad_reads[n]).baddbmm_(delta_n.to(_WIDE), states[n].mT.to(_WIDE))
        torch.bmm(grad_score.mT, read.to(_WIDE), out=grad_writes[n]).baddbmm_(value.to(_WIDE), grad_end.mT.to(_WIDE))
        grad_state = torch.baddbmm(grad_end, read.mT, delta_n)

    grad_log_w = _log_decay_gradient(grad_reads * reads, grad_writes * writes, grad_chunk_log_decay)
    before, after = decay[..., :-1, :].flatten(1, 2), decay[..., 1:, :].flatten(1, 2)
    grad_reads, grad_writes = grad_reads.to(w.dtype), grad_writes.to(w.dtype)
    by_token = (
        grad_reads[:, :, c:].mul_(after),
        grad_log_w.to(w.dtype),
        grad_writes[:, :, c:].div_(after),
        grad_v,
        grad_reads[:, :, :c].mul_(before),
        grad_writes[:, :, :c].div_(after),
    )
    grad_r, grad_log_w, grad_k, grad_v, grad_a, grad_b = (_from_chunks(x, w) for x in by_token)
    return grad_r, grad_log_w.div_(w), grad_k, grad_v, grad_a, grad_b, grad_state.mT.reshape_as(grad_final)


def _to_chunks(x: Tensor, chunk_len: int) -> Tensor:
    """[B,T,H,N] -> a view [n,B,H,c,N]."""
    return x.unflatten(1, (-1, chunk_len)).permute(1, 0, 3, 2, 4)


def _from_chunks(x: Tensor, like: Tensor) -> Tensor:
    """[n,B*H,c,N] -> [B,T,H,N], the shape of `like`."""
    n_batch, _, n_head, _ = like.shape
    return x.unflatten(1, (n_batch, n_head)).permute(1, 0, 3, 2, 4).reshape(like.shape)


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
    """Reads [A~; R~], writes [B^; K^] and values [SA; V], each [n,Z,2c,N]; the rows of SA are still to be filled."""
    c = r.shape[3]
    before, after = decay[..., :-1, :], decay[..., 1:, :]
    reads, writes, values = (r.new_empty(*r.shape[:3], 2 * c, r.shape[4]) for _ in range(3))
    torch.mul(a, before, out=reads[..., :c, :])
    torch.mul(r, after, out=reads[..., c:, :])
    torch.div(b, after, out=writes[..., :c, :])
    torch.div(k, after, out=writes[..., c:, :])
    values[..., c:, :] = v
    return reads.flatten(1, 2), writes.flatten(1, 2), values.flatten(1, 2)


def _past_mask(chunk_len: int, like: Tensor) -> Tensor:
    """[2c,2c], 1 where a read sees a write: reads along a see earlier tokens, reads along r also their own."""
    ones = torch.ones(chunk_len, chunk_len, dtype=like.dtype, device=like.device)
    return torch.cat([ones.tril(-1).repeat(1, 2), ones.tril().repeat(1, 2)])


def _log_decay_gradient(from_reads: Tensor, from_writes: Tensor, from_end: Tensor) -> Tensor:
    """d loss / d log w [n,Z,c,N] from each vector times its own gradient [n,Z,2c,N] and from the chunk's end [n,Z,N].

    Log P_t gains r~ dr~ - b^ db^ - k^ dk^ of token t and a~ da~ of token t+1; log w_t collects them from t to the end.
    """
    c = from_reads.shape[2] // 2
    gain = from_reads[:, :, c:] - from_writes[:, :, :c] - from_writes[:, :, c:]
    gain[:, :, :-1] += from_reads[:, :, 1:c]
    gain[:, :, -1] += from_end
    for t in reversed(range(c - 1)):
        gain[:, :, t] += gain[:, :, t + 1]
    return gain
