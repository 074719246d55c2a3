"""DeepEmbedAttention: the formula, its cache, shared tables, and a fresh branch that changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from camoe.config.model import ModelConfig
from camoe.model.deep_embed_attention import DeepEmbedAttention, DeepEmbedTables
from camoe.model.recurrent_state import DeepEmbedCache

V, T = 40, 13
CONFIG = ModelConfig(
    n_embd=32, n_layer=3, head_size=16, deep_embed_attention=True, deep_embed_query_dim=24, deep_embed_cache_dim=6
)


def awake(tables: DeepEmbedTables | None = None) -> DeepEmbedAttention:
    torch.manual_seed(0)
    branch = DeepEmbedAttention(CONFIG, V, 1, tables)
    with torch.no_grad():
        for parameter in (*branch.parameters(), *(tables.parameters() if tables else ())):
            parameter.add_(torch.randn(parameter.shape))
    return branch.double()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, T, 32, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, V, (2, T), generator=generator)


def written_out(branch: DeepEmbedAttention, x: Tensor, ids: Tensor) -> Tensor:
    """The formula one token at a time, for one sequence x [T,C]."""
    tables = branch.tables

    def normed(norm: torch.nn.LayerNorm, z: Tensor) -> Tensor:
        return functional.layer_norm(z, z.shape[-1:], norm.weight, norm.bias)

    def mixed(z: list[Tensor], t: int, ratio: Tensor) -> Tensor:
        before = z[t - 1] if t else torch.zeros_like(z[0])
        return z[t] + (before - z[t]) * ratio.flatten()

    q = [branch.qq(token) for token in x]
    k = [token @ branch.k1 @ branch.k2 * tables.k_emb.weight[i] for token, i in zip(x, ids, strict=True)]
    v = [torch.tanh(token @ branch.v1 @ branch.v2) * tables.v_emb.weight[i] for token, i in zip(x, ids, strict=True)]
    outputs = []
    for t in range(len(x)):
        query = normed(branch.lnq, mixed(q, t, branch.x_q))
        keys = torch.stack([normed(branch.lnk, mixed(k, s, branch.x_k)) for s in range(t + 1)])
        values = torch.stack([normed(branch.lnv, mixed(v, s, branch.x_v)) for s in range(t + 1)])
        outputs.append((64 * torch.tanh(keys @ query / 1024)).softmax(0) @ values)
    return torch.stack(outputs)


def test_the_formula() -> None:
    branch = awake()
    x, ids = inputs()
    out, _ = branch(x, ids)
    for row in range(2):
        torch.testing.assert_close(out[row], written_out(branch, x[row], ids[row]))


@pytest.mark.parametrize("pieces", [[1] * T, [5, 8], [12, 1], [1, 12]])
@pytest.mark.parametrize("start", ["none", "empty"])
def test_full_pass_chunks_and_single_tokens_agree(pieces: list[int], start: str) -> None:
    branch = awake()
    x, ids = inputs()
    whole, whole_cache = branch(x, ids)
    cache = DeepEmbedCache.empty(CONFIG, 2, x) if start == "empty" else None
    outputs = []
    for x_part, ids_part in zip(x.split(pieces, 1), ids.split(pieces, 1), strict=True):
        out, cache = branch(x_part, ids_part, cache)
        outputs.append(out)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    assert cache is not None
    for name in ("key_latents", "value_latents", "ids", "query"):
        torch.testing.assert_close(getattr(cache, name), getattr(whole_cache, name))


def test_the_cache_holds_two_latents_and_an_id_per_token() -> None:
    x, ids = inputs()
    _, cache = awake()(x, ids)
    assert cache.key_latents.shape == cache.value_latents.shape == (2, T, CONFIG.deep_embed_cache_dim)
    assert torch.equal(cache.ids, ids)
    assert cache.query.shape == (2, CONFIG.deep_embed_query_dim)


def test_a_fresh_branch_adds_nothing_and_its_gain_learns_first() -> None:
    torch.manual_seed(0)
    branch = DeepEmbedAttention(CONFIG, V, 0)
    x, ids = inputs()
    out, _ = branch(x.float(), ids)
    assert torch.all(out == 0)
    (out * torch.randn_like(out)).sum().backward()
    assert branch.lnv.weight.grad is not None
    assert float(branch.lnv.weight.grad.abs().max()) > 0


def test_every_parameter_learns_once_the_gain_is_open() -> None:
    branch = awake()
    x, ids = inputs()
    branch(x, ids)[0].square().sum().backward()
    for name, parameter in branch.named_parameters():
        assert parameter.grad is not None, name
        assert math.isfinite(float(parameter.grad.abs().max())), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_shared_tables_are_used_but_not_owned() -> None:
    tables = DeepEmbedTables(V, CONFIG.deep_embed_query_dim, 32)
    assert torch.all(tables.k_emb.weight == 1)
    assert torch.all(tables.v_emb.weight == 1)
    branch = awake(tables)
    assert branch.tables is tables
    assert not any("emb" in name for name in branch.state_dict())
    x, ids = inputs()
    tables.double()
    branch(x, ids)[0].sum().backward()
    assert tables.v_emb.weight.grad is not None
    own = DeepEmbedAttention(CONFIG, V, 1)
    assert any("emb" in name for name in own.state_dict())
