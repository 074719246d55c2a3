"""Initial values: RWKV-LM's formulas number by number, in every dtype, and a fresh model that starts at ln V."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camoe.config.model import ModelConfig
from camoe.model import initialization as init
from camoe.model.deep_embed_attention import DeepEmbedAttention
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.time_mix import LowRanks, TimeMix

C, N, L = 64, 16, 4

MODULES: dict[str, Callable[[], nn.Module]] = {
    "time_mix": lambda: TimeMix(C, N, 2, L),
    "rwkv_ffn": lambda: RwkvFeedForward(C, 4 * C, layer_id=2, n_layer=L),
    "rwkv_ffn_published": lambda: RwkvFeedForward(C, 4 * C, layer_id=2, n_layer=L, token_shift=False),
    "deep_embed": lambda: DeepEmbedAttention(ModelConfig(n_embd=C, n_layer=L, head_size=N), 50, 2),
}


def zigzag(i: int) -> float:
    z = ((i % N) - (N - 1) / 2) / ((N - 1) / 2)
    return z * abs(z)


@pytest.mark.parametrize("layer", range(L))
def test_time_mix_vectors_number_by_number(layer: int) -> None:
    mix = TimeMix(C, N, layer, L)
    falling, rising = 1 - layer / L, layer / (L - 1)
    for i in (0, 1, 17, C // 2, C - 1):
        linear = i / (C - 1) - 0.5
        expected = {
            "x_r": 1 - (i / C) ** (0.2 * falling),
            "x_g": 1 - (i / C) ** (0.2 * falling),
            "x_w": 1 - (i / C) ** (0.9 * falling),
            "x_a": 1 - (i / C) ** (0.9 * falling),
            "x_k": 1 - (i / C) ** (0.7 * falling),
            "x_v": 1 - (i / C) ** (0.7 * falling),
            "w0": -6 + 6 * (i / (C - 1)) ** (1 + rising**0.3) + 0.5 + 2.5 * zigzag(i),
            "a0": -0.19 + 0.3 * zigzag(i) + 0.4 * linear,
            "v0": 0.73 - 0.4 * linear,
            "k_k": 0.71 - 0.1 * linear,
            "k_a": 1.02,
        }
        for name, value in expected.items():
            if name != "v0" or layer > 0:
                assert float(getattr(mix, name)[0, 0, i].detach()) == pytest.approx(value, abs=2e-6), name
    assert torch.all(mix.r_k == -0.04)
    torch.testing.assert_close(mix.ln_x.weight, torch.full((C,), ((layer + 1) / L) ** 0.7))


def test_time_mix_matrices() -> None:
    mix = TimeMix(C, N, 1, L)
    for letter in "wavg":
        first, second = getattr(mix, f"{letter}1"), getattr(mix, f"{letter}2")
        assert torch.all(first == 0)
        rows = second.shape[0]
        torch.testing.assert_close(second @ second.mT, 0.01 * torch.eye(rows), rtol=0, atol=1e-6)
    assert torch.all(mix.output.weight == 0)
    for matrix, bound in ((mix.receptance, 0.5), (mix.key, 0.05), (mix.value, 0.5)):
        largest = float(matrix.weight.detach().abs().max()) * math.sqrt(C)
        assert 0.98 * bound < largest <= bound


def test_a_tall_low_rank_factor_has_a_larger_gain() -> None:
    first, second = torch.ones(16, 64), torch.empty(64, 16)
    init.initialize_low_rank(first, second)
    assert torch.all(first == 0)
    torch.testing.assert_close(second.mT @ second, 0.01 * (64 / 16) * torch.eye(16), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("n_embd", "expected"), [(64, (32, 32, 32, 32)), (768, (64, 64, 32, 128)), (1024, (64, 64, 64, 160))]
)
def test_official_low_ranks(n_embd: int, expected: tuple[int, ...]) -> None:
    ranks = LowRanks.official(n_embd)
    assert (ranks.w, ranks.a, ranks.v, ranks.g) == expected


def test_rwkv_expert() -> None:
    expert = RwkvFeedForward(C, 4 * C, layer_id=1, n_layer=L)
    assert expert.x_k is not None
    exponent = (1 - 1 / L) ** 4
    assert float(expert.x_k[0, 0, 20].detach()) == pytest.approx(1 - (20 / C) ** exponent, abs=1e-6)
    assert 0.98 * 0.5 < float(expert.key.weight.detach().abs().max()) * math.sqrt(C) <= 0.5
    assert torch.all(expert.value.weight == 0)


def test_published_rwkv_expert() -> None:
    expert = RwkvFeedForward(C, 4 * C, layer_id=1, n_layer=L, token_shift=False)
    weight = expert.key.weight
    torch.testing.assert_close(weight.mT @ weight, 4 * torch.eye(C), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MODULES)
def test_every_dtype_starts_from_the_same_numbers(name: str) -> None:
    values = {}
    for dtype in (torch.float32, torch.bfloat16):
        module = MODULES[name]().to(dtype)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(7)
        torch.manual_seed(5)
        module.reset_parameters()  # type: ignore[operator]
        values[dtype] = dict(module.named_parameters())
    for key, parameter in values[torch.float32].items():
        assert torch.equal(values[torch.bfloat16][key], parameter.bfloat16()), key
        assert not torch.any(parameter == 7), key


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_built_on_the_meta_device_and_filled_later(name: str) -> None:
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        module = MODULES[name]()
    assert all(parameter.is_meta for parameter in module.parameters())
    assert torch.equal(before, torch.random.get_rng_state())
    module.to_empty(device="cpu")
    torch.manual_seed(5)
    module.reset_parameters()  # type: ignore[operator]
    twin = MODULES[name]()
    torch.manual_seed(5)
    twin.reset_parameters()  # type: ignore[operator]
    for key, parameter in module.named_parameters():
        assert torch.equal(parameter, twin.get_parameter(key)), key


def _fresh_loss(n_vocab: int, n_embd: int, *, tied: bool) -> float:
    """Loss of a model whose blocks add nothing yet: LN0, LN_out, head; every word read and every word asked once."""
    torch.manual_seed(0)
    emb = torch.empty(n_vocab, n_embd)
    init.initialize_embedding(emb, tied=tied)
    norm = nn.LayerNorm(n_embd)
    gain = torch.empty(n_embd)
    init.initialize_output_norm(gain, tied=tied)
    hidden = norm(norm(emb)) * gain
    head, scale = emb, n_embd**-0.5
    if not tied:
        head, scale = torch.empty(n_vocab, n_embd), 1.0
        init.initialize_head(head)
    logits = scale * hidden[: min(n_vocab, 512)] @ head.mT
    return float((logits.logsumexp(-1) - logits.mean(-1)).mean().detach())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("n_vocab", "n_embd"), [(64, 64), (256, 32), (256, 128), (1024, 128), (65536, 256)])
def test_a_fresh_model_starts_at_the_loss_of_ignorance(n_vocab: int, n_embd: int, tied: bool) -> None:
    assert _fresh_loss(n_vocab, n_embd, tied=tied) == pytest.approx(math.log(n_vocab), rel=0.05)


def test_tied_embeddings_learn_about_as_fast_as_a_head_of_their_own() -> None:
    """One signed step on a row moves that word's logit as far as it would in an untied head, C times the step."""
    emb, gain = torch.empty(50, C), torch.empty(C)
    init.initialize_embedding(emb, tied=True)
    init.initialize_output_norm(gain, tied=True)
    hidden = nn.functional.layer_norm(emb[:1], (C,))
    moved: Tensor = (hidden * gain * C**-0.5) @ hidden.sign().mT
    assert float(moved) == pytest.approx(float(hidden @ hidden.sign().mT), rel=1e-5)
