"""Causal multi-head attention: what takes the place of TimeMix in the attention layers of a schedule.

Source: Vaswani et al., "Attention is all you need", 2017, section 3.2; pre-norm and fused projections as in CDRmix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from camoe.kernels.linear import Linear
from camoe.model import initialization as init
from camoe.model.key_value_cache import KeyValueCache
from camoe.model.rotary import rotated

QUERY_GAIN = 1.5


class CausalAttention(nn.Module):
    """[q k v] = x W_qkv, in heads of N channels; out = softmax(q k^T / sqrt(N)) v W_o over the tokens so far.

    n_kv_head: heads of keys and values, each shared by n_head // n_kv_head neighbouring heads of queries (Ainslie et
    al., "GQA", 2023); None: as many as of queries. rotary: q and k are turned by their positions (see `rotated`);
    without it only other layers tell positions apart. query_gain: q and k of every head are first divided by their root
    mean square (Henry et al., "Query-Key Normalization", 2020), and q, turned or not, is then multiplied by a gain per
    head, learned from 1.5 on (`q_gain` of OpenAI's parameter-golf baseline).
    Initialisation as in TimeMix: W_qkv uniform(+-0.5/sqrt C), W_o zero, so a fresh layer adds nothing.
    """

    def __init__(
        self,
        n_embd: int,
        head_size: int,
        *,
        rotary: bool,
        n_kv_head: int | None = None,
        query_gain: bool = False,
    ) -> None:
        super().__init__()
        self.head_size, self.rotary = head_size, rotary
        self.n_head = n_embd // head_size
        self.n_kv_head = self.n_head if n_kv_head is None else n_kv_head
        self.qkv = Linear(n_embd, n_embd + 2 * self.n_kv_head * head_size, bias=False)
        self.output = Linear(n_embd, n_embd, bias=False)
        self.query_gain = nn.Parameter(torch.empty(self.n_head)) if query_gain else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """See the class."""
        init.initialize_uniform(self.qkv.weight, 0.5 / math.sqrt(self.qkv.in_features))
        self.output.weight.zero_()
        if self.query_gain is not None:
            self.query_gain.fill_(QUERY_GAIN)

    def forward(self, x: Tensor, position: Tensor, cache: KeyValueCache | None = None) -> tuple[Tensor, KeyValueCache]:
        """Attended values [B,T,C] for normalised inputs x [B,T,C] at position [B,T], and the cache grown by them."""
        before = 0 if cache is None else cache.length
        heads = self.qkv(x).unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        q, k, v = heads.split((self.n_head, self.n_kv_head, self.n_kv_head), dim=1)
        if self.query_gain is not None:
            q, k = _unit(q) * self.query_gain.to(q.dtype)[:, None, None], _unit(k)
        if self.rotary:
            q, k = rotated(q, position), rotated(k, position)
        cache = KeyValueCache.extended(cache, k, v)
        mask = _may_see(x.shape[1], before, x.device)
        y = functional.scaled_dot_product_attention(
            q,
            cache.keys,
            cache.values,
            attn_mask=mask,
            is_causal=not before and mask is None,
            enable_gqa=self.n_kv_head < self.n_head,
        )
        return self.output(y.transpose(1, 2).flatten(2)), cache


def _unit(heads: Tensor) -> Tensor:
    """Queries or keys [B,H,T,N] over the root mean square of each; computed in float32 or wider, dtype as it was."""
    wide = heads.to(torch.promote_types(heads.dtype, torch.float32))
    return functional.rms_norm(wide, heads.shape[-1:]).to(heads.dtype)


def _may_see(n_new: int, n_before: int, device: torch.device) -> Tensor | None:
    """Which of all tokens each new one sees, [T,S+T]; None where torch's own causal rule, or no rule, does.

    That rule lets the first new token see the first token alone, whatever came before.
    """
    if n_before == 0 or n_new == 1:
        return None
    return torch.ones(n_new, n_before + n_new, dtype=torch.bool, device=device).tril(n_before)
