"""CDRmix's four scales, built without allocating them, and the same composition small enough to run."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from camoe.config import RunConfig
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.profiling.parameter_growth import parameter_growth
from camoe.profiling.sizing import Fit
from camoe.training.objectives import Batch
from camoe.training.self_check import self_check
from tests.config.compositions import hydra_ready, run_config

# C, L, attention layers, nominal active parameters, stored parameters
SCALES = {
    "1b": (2048, 24, 6, 10**9, 2_358_507_520),
    "4b": (3072, 36, 9, 4 * 10**9, 11_134_147_584),
    "40b": (6144, 64, 16, 40 * 10**9, 128_485_705_728),
    "200b": (12288, 96, 24, 200 * 10**9, 616_604_602_368),
}
SMALL = ("model.n_embd=64", "model.n_layer=4", "model.head_size=16", "experts.hidden=32", "train.precision=fp32")


@cache
def _config(*overrides: str) -> RunConfig:
    with hydra_ready():
        return run_config(*overrides)


@pytest.mark.parametrize("scale", SCALES)
def test_one_choice_composes_the_whole_system(scale: str) -> None:
    n_embd, n_layer, attention, nominal, _ = SCALES[scale]
    config = _config(f"model=cdrmix_{scale}")
    model, experts, router = config.model, config.experts, config.router
    assert (model.n_embd, model.n_layer, model.head_size, config.tokenizer.vocab_size) == (n_embd, n_layer, 128, 50_272)
    assert (model.layers, len(model.attention_layers), model.tie_embeddings) == ("hybrid", attention, True)
    assert experts.counts(attention=False) == {"gated_channel_mix": 8}
    assert experts.counts(attention=True) == {"gelu_ffn": 8}
    assert (router.kind, router.top_k, config.economy.kind) == ("topk", 2, "off")
    assert (router.losses.switch.weight, router.losses.z.weight, router.losses.z.kind) == (0.01, 0.01, "mean_square")
    assert config.job.nominal_params == nominal


@pytest.mark.parametrize("scale", SCALES)
def test_stored_and_active_parameters(scale: str) -> None:
    *_, nominal, stored = SCALES[scale]
    config = _config(f"model=cdrmix_{scale}")
    with torch.device("meta"):
        cost = model_cost(LanguageModel(config))
    assert cost.total_params == stored
    assert cost.active_params == pytest.approx(nominal, rel=0.02)
    assert config.experts.hidden is not None
    assert config.experts.hidden % 64 == 0


def test_the_width_is_the_one_that_sizing_names() -> None:
    config = _config("model=cdrmix_1b")
    fits = {counted: Fit(growth, 1e9) for counted, growth in parameter_growth(config).items()}
    assert fits["active"].feasible
    assert fits["active"].hidden == config.experts.hidden
    assert not fits["stored"].feasible


def _counted_by_hand(n_embd: int, n_layer: int, attention: int, hidden: int, experts: int) -> int:
    """Parameters with `experts` experts counted in every layer."""
    root, square, rwkv = n_embd**0.5, n_embd * n_embd, n_layer - attention
    decay, gate, value = (max(32, round(factor * root / 32) * 32) for factor in (2.5, 5, 1.7))
    time_mix = 4 * square + 2 * n_embd * (2 * decay + gate) + 13 * n_embd
    residual = (rwkv - 1) * (2 * n_embd * value + n_embd)  # values of layer 0, in all other RWKV layers
    mixers = rwkv * time_mix + residual + attention * 4 * square
    norms = (2 * n_layer + 2) * 2 * n_embd
    of_experts = experts * (n_layer * 2 * n_embd * hidden + rwkv * square)
    return 50_272 * n_embd + mixers + norms + n_layer * 8 * n_embd + of_experts


@pytest.mark.parametrize("scale", SCALES)
def test_parameters_counted_by_hand(scale: str) -> None:
    n_embd, n_layer, attention, nominal, stored = SCALES[scale]
    hidden = _config(f"model=cdrmix_{scale}").experts.hidden
    assert hidden is not None
    assert _counted_by_hand(n_embd, n_layer, attention, hidden, 8) == stored
    assert _counted_by_hand(n_embd, n_layer, attention, hidden, 2) == pytest.approx(nominal, rel=0.002)


def _small_model() -> tuple[LanguageModel, Batch]:
    model = LanguageModel(_config("model=cdrmix_1b", "tokenizer=byte", *SMALL))
    tokens = torch.randint(1, 256, (2, 24), generator=torch.Generator().manual_seed(0))
    return model, Batch(tokens[:, :-1], tokens[:, 1:])


def test_a_small_one_passes_the_self_check() -> None:
    model, batch = _small_model()
    checks = {check.what for check in self_check(model, batch)}
    assert any("router_gate" in what for what in checks)


@torch.no_grad()
def test_a_small_one_reads_in_any_pieces() -> None:
    model, batch = _small_model()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.eval()
    full, _ = model(batch.inputs)
    state, parts = None, []
    for piece in batch.inputs.split([7, 1, 1, 14], dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    assert float((torch.cat(parts, 1) - full).abs().max()) < 1e-5 * max(1.0, float(full.abs().max()))
