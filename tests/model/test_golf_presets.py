"""The two golf models against the published counts of parameters, part by part."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from camoe.config import RunConfig
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.training.objectives import Batch, compute_losses
from camoe.training.optimizers import build_optimizer, set_rates
from camoe.training.phases import PhaseSchedule
from camoe.training.self_check import self_check
from tests.config.compositions import hydra_ready, run_config

VOCABULARY, C, HEADS, KV_HEADS, EXPERTS = 1024, 512, 8, 4, 4
SMALL = ("model.n_embd=64", "model.n_layer=3", "model.head_size=16", "model.attention_kv_heads=2")
# layers, width of all experts in C, gate, published count
STATES = {"golf_small": (9, 1, False, 14_705_224), "golf": (11, 2, True, 26_529_880)}


def _config(name: str, *overrides: str) -> RunConfig:
    with hydra_ready():
        return run_config(f"model={name}", *overrides)


def _batch() -> Batch:
    tokens = torch.randint(1, VOCABULARY, (2, 34), generator=torch.Generator().manual_seed(0))
    return Batch(tokens[:, :-1], tokens[:, 1:])


def _parts(n_layer: int, ratio: int, gate: bool) -> dict[str, int]:
    """Parameters of all layers by what the published text names."""
    size, width = C // HEADS, ratio * C // EXPERTS
    return {
        "tied embedding": VOCABULARY * C,
        "attention of grouped heads": n_layer * (2 * C * C + 2 * C * KV_HEADS * size),
        "gain of every query head": n_layer * HEADS,
        "mu": n_layer * C,
        "SwiGLU experts": n_layer * EXPERTS * 3 * C * width,
        "gate": n_layer * gate * EXPERTS * C,
        "scales of the stream and of what is added": n_layer * 4 * C,
        "skip connections": n_layer // 2 * C,
    }


def _found(model: LanguageModel) -> dict[str, int]:
    """The same of ours, by name of parameter; nothing else may be there."""
    endings = {
        "emb.weight": "tied embedding",
        "attention.qkv.weight": "attention of grouped heads",
        "attention.output.weight": "attention of grouped heads",
        "attention.query_gain": "gain of every query head",
        "dynamics.mu": "mu",
        "skip.scale": "skip connections",
    }
    found: Counter[str] = Counter({"gate": 0})
    for name, parameter in model.named_parameters():
        if ".experts." in name:
            found["SwiGLU experts"] += parameter.numel()
        elif ".router." in name:
            found["gate"] += parameter.numel()
        elif ".residual." in name:
            found["scales of the stream and of what is added"] += parameter.numel()
        else:
            (part,) = [part for ending, part in endings.items() if name.endswith(ending)]
            found[part] += parameter.numel()
    return dict(found)


@pytest.mark.parametrize("name", STATES)
def test_published_counts_part_by_part_and_as_a_whole(name: str) -> None:
    n_layer, ratio, gate, published = STATES[name]
    with torch.device("meta"):
        model = LanguageModel(_config(name))
    assert _found(model) == _parts(n_layer, ratio, gate)
    assert model_cost(model).total_params == sum(parameter.numel() for parameter in model.parameters()) == published


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
def test_a_small_one_learns_under_muon(name: str) -> None:
    """Every parameter of it: queries, keys and values of shared heads lie in one matrix of unequal parts."""
    config = _config(name, *SMALL)
    model = LanguageModel(config)
    groups, stacked = parameter_groups(model), stacked_matrices(model)
    optimizer = build_optimizer(config.optimizer, groups, "cpu", stacked=stacked)
    set_rates(optimizer, 2e-3, PhaseSchedule(config.phase).at(0))
    batch, losses = _batch(), []
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(4):
        loss = compute_losses(model, batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []
    assert stacked["blocks.0.attention.qkv.weight"] == 4  # two of queries, one of keys, one of values, all [32,64]


@pytest.mark.parametrize("name", STATES)
def test_a_small_one_knows_nothing_and_passes_the_self_check(name: str) -> None:
    model, batch = LanguageModel(_config(name, *SMALL)), _batch()
    assert self_check(model, batch)
    with torch.no_grad():
        nats, _ = model.cross_entropy(model.hidden(batch.inputs)[0], batch.targets)
    assert float(nats) / batch.targets.numel() == pytest.approx(math.log(VOCABULARY), rel=0.05)
