"""The two golf models against the published counts of parameters, part by part."""

from __future__ import annotations

import math

import pytest
import torch

from camoe.config import RunConfig
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.training.objectives import Batch
from camoe.training.self_check import self_check
from tests.config.compositions import hydra_ready, run_config

VOCABULARY, C, HEADS, KV_HEADS, EXPERTS = 1024, 512, 8, 4, 4
# layers, width of all experts in C, gate, published count
STATES = {"golf_small": (9, 1, False, 14_705_224), "golf": (11, 2, True, 26_529_880)}
STORED = {"golf_small": 14_705_152, "golf": 26_529_280}


def _config(name: str, *overrides: str) -> RunConfig:
    with hydra_ready():
        return run_config(f"model={name}", *overrides)


def _shared_parts(n_layer: int, ratio: int, gate: bool) -> int:
    """What the published model and ours both have: tied embedding, grouped attention, mu, SwiGLU experts, gate."""
    size, width = C // HEADS, ratio * C // EXPERTS
    attention = 2 * C * C + 2 * C * KV_HEADS * size
    return VOCABULARY * C + n_layer * (attention + C + EXPERTS * 3 * C * width + gate * EXPERTS * C)


@pytest.mark.parametrize("name", STATES)
def test_published_counts_and_what_ours_lacks_of_them(name: str) -> None:
    """Theirs: per layer two output scales, two residual scales and a gain per head; a scale per skip connection.

    Ours: two LayerNorms with bias per layer, which are as many as the scales, and two more around the blocks.
    """
    n_layer, ratio, gate, published = STATES[name]
    shared = _shared_parts(n_layer, ratio, gate)
    assert shared + n_layer * (4 * C + HEADS) + n_layer // 2 * C == published
    with torch.device("meta"):
        cost = model_cost(LanguageModel(_config(name)))
    assert cost.total_params == shared + n_layer * 4 * C + 2 * 2 * C == STORED[name]
    assert cost.total_params == pytest.approx(published, rel=3e-5)


@pytest.mark.parametrize("name", STATES)
def test_one_choice_composes_the_whole_system(name: str) -> None:
    config = _config(name)
    model = config.model
    assert (model.n_embd, model.n_layer, config.tokenizer.vocab_size) == (C, STATES[name][0], VOCABULARY)
    assert (len(model.attention_layers), model.dynamics) == (model.n_layer, "pid")
    assert config.experts.counts(attention=True) == {"swiglu": EXPERTS}
    assert (config.router.top_k, config.economy.kind) == (1, "off")
    assert config.router.kind == ("modulo_prior" if name == "golf" else "token_modulo")
    assert (config.optimizer.kind, config.optimizer.decay, config.averaging.kind) == ("muon", "cosine_restarts", "swa")
    assert config.train.ctx_len * config.train.micro_batch * config.train.grad_accum == 524_288


@pytest.mark.parametrize("name", STATES)
def test_a_small_one_knows_nothing_and_passes_the_self_check(name: str) -> None:
    config = _config(name, "model.n_embd=64", "model.n_layer=3", "model.head_size=16", "model.attention_kv_heads=2")
    model = LanguageModel(config)
    tokens = torch.randint(1, VOCABULARY, (2, 34), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens[:, :-1], tokens[:, 1:])
    assert self_check(model, batch)
    with torch.no_grad():
        nats, _ = model.cross_entropy(model.hidden(batch.inputs)[0], batch.targets)
    assert float(nats) / batch.targets.numel() == pytest.approx(math.log(VOCABULARY), rel=0.05)
