"""DeepEmbedAttention: causal attention beside TimeMix whose keys and values are scaled by per-word embeddings.

Source: RWKV-LM, RWKV-v7b. It remembers two short latents and the word of each token, and rebuilds keys and values from
them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from camoe.config.model import ModelConfig
from camoe.model import initialization as init
from camoe.model.recurrent_state import DeepEmbedCache, previous_tokens

# scores = CAP tanh(q k^T / CAP_SLOPE): soft-capped at +-64, slope 1/16 = 1/sqrt(256) around zero.
SCORE_CAP = 64.0
SCORE_SCALE = 1024.0


class DeepEmbedTables(nn.Module):
    """Per-word scales of keys [V,q_dim] and values [V,C]. They start at 1, so a word's scale is learnt, not drawn."""

    def __init__(self, n_vocab: int, query_dim: int, n_embd: int) -> None:
        super().__init__()
        self.k_emb = nn.Embedding(n_vocab, query_dim)
        self.v_emb = nn.Embedding(n_vocab, n_embd)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All scales 1."""
        nn.init.ones_(self.k_emb.weight)
        nn.init.ones_(self.v_emb.weight)


class DeepEmbedAttention(nn.Module):
    """q = LN(shift(x W_qq)), k = LN(shift((x W_k1 W_k2) * k_emb[id])), v = LN(shift(tanh(x W_v1 W_v2) * v_emb[id])).

    shift(z)_t = z_t + (z_{t-1} - z_t) mu, with mu per channel (x_q, x_k, x_v) and zero before the first token;
    out = softmax(64 tanh(q k^T / 1024)) v over the tokens so far. A full pass, chunks and single tokens agree.

    Initialisation: the gain (and bias) of the value's LayerNorm is zero, so a fresh block equals one without this
    branch, and that gain learns first; matrices are uniform(+-0.5/sqrt(rows)) and mu follow TimeMix's r, k and v.
    """

    def __init__(self, config: ModelConfig, n_vocab: int, layer_id: int, tables: DeepEmbedTables | None = None) -> None:
        """`tables` are shared by the layers that receive them; without any this layer has its own."""
        super().__init__()
        width, query_dim, cache_dim = config.n_embd, config.deep_embed_query_dim, config.deep_embed_cache_dim
        self.layer_id, self.n_layer = layer_id, config.n_layer
        self.own_tables = None if tables is not None else DeepEmbedTables(n_vocab, query_dim, width)
        # Shared tables belong to the model: in a tuple they are no submodule here and are saved once.
        self._shared_tables = (tables,)
        self.qq = nn.Linear(width, query_dim, bias=False)
        self.k1, self.k2 = _matrix(width, cache_dim), _matrix(cache_dim, query_dim)
        self.v1, self.v2 = _matrix(width, cache_dim), _matrix(cache_dim, width)
        self.x_q, self.x_k, self.x_v = _matrix(1, 1, query_dim), _matrix(1, 1, query_dim), _matrix(1, 1, width)
        self.lnq, self.lnk, self.lnv = nn.LayerNorm(query_dim), nn.LayerNorm(query_dim), nn.LayerNorm(width)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """See the class; own tables start at 1."""
        shrinking = init.shrinking_ratio(self.layer_id, self.n_layer)
        for ratio, exponent in ((self.x_q, 0.2), (self.x_k, 0.7), (self.x_v, 0.7)):
            ratio.copy_(init.token_shift_ratio(ratio.shape[-1], exponent * shrinking))
        init.initialize_uniform(self.qq.weight, 0.5 / math.sqrt(self.qq.in_features))
        for matrix in (self.k1, self.k2, self.v1, self.v2):
            init.initialize_uniform(matrix, 0.5 / math.sqrt(matrix.shape[0]))
        for norm in (self.lnq, self.lnk, self.lnv):
            norm.reset_parameters()
        self.lnv.weight.zero_()
        if self.own_tables is not None:
            self.own_tables.reset_parameters()

    @property
    def tables(self) -> DeepEmbedTables:
        """The tables in use, own or shared."""
        tables = self.own_tables if self.own_tables is not None else self._shared_tables[0]
        assert tables is not None
        return tables

    def forward(self, x: Tensor, ids: Tensor, cache: DeepEmbedCache | None = None) -> tuple[Tensor, DeepEmbedCache]:
        """Attended values [B,T,C] for inputs x [B,T,C] with words ids [B,T], and the cache grown by these tokens."""
        query = self.qq(x)
        cache, last_query = self._grown(cache, x, ids, query)
        q = self.lnq(_shifted(query, last_query, self.x_q))
        k = self.lnk(_shifted((cache.key_latents @ self.k2) * self.tables.k_emb(cache.ids), None, self.x_k))
        values = torch.tanh(cache.value_latents @ self.v2) * self.tables.v_emb(cache.ids)
        v = self.lnv(_shifted(values, None, self.x_v))
        scores = SCORE_CAP * torch.tanh(q @ k.mT / SCORE_SCALE)
        n_before = cache.ids.shape[1] - ids.shape[1]
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(n_before + 1)
        return scores.masked_fill(future, -torch.inf).softmax(-1) @ v, cache

    def _grown(
        self, cache: DeepEmbedCache | None, x: Tensor, ids: Tensor, query: Tensor
    ) -> tuple[DeepEmbedCache, Tensor | None]:
        """The cache with the new tokens in it, and the query before the first of them."""
        key_latents, value_latents, last_query = x @ self.k1, x @ self.v1, None
        if cache is not None:
            key_latents = torch.cat((cache.key_latents, key_latents), dim=1)
            value_latents = torch.cat((cache.value_latents, value_latents), dim=1)
            ids, last_query = torch.cat((cache.ids, ids), dim=1), cache.query
        return DeepEmbedCache(key_latents, value_latents, ids, query[:, -1].clone()), last_query


def _shifted(z: Tensor, last: Tensor | None, ratio: Tensor) -> Tensor:
    """z_t + (z_{t-1} - z_t) ratio; z [B,T,D], ratio [1,1,D]."""
    return torch.addcmul(z, previous_tokens(z, last) - z, ratio)


def _matrix(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))
