"""What routers that have a say in the mix make of it; dense costs a token what the composed mix costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from camoe.config.run import RunConfig
from camoe.model.as_built import as_built, dense_hidden
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from tests.small_run import small_run

MIXES: dict[str, dict[str, Any]] = {
    "3r1t": {"rwkv_ffn": 3, "transformer_prefix": 1},
    "2r2t": {"rwkv_ffn": 2, "transformer_prefix": 2},
    "0r4t": {"rwkv_ffn": 0, "transformer_prefix": 4},
    "wide": {"rwkv_ffn": 8, "transformer_prefix": 0, "hidden": 77},
    "shared": {"rwkv_ffn": 4, "transformer_prefix": 0, "shared": 2, "zero": 1, "copy": 1},
    "swiglu": {"rwkv_ffn": 0, "transformer_prefix": 0, "swiglu": 4},
    "one": {"rwkv_ffn": 1, "transformer_prefix": 0},
}
BY_MIXER: dict[str, Any] = {
    "model": {"n_layer": 4, "layers": "interleave", "attention_ratio": 0.25, "attention_period": 4},
    "experts": {"policy": "by_mixer", "rwkv_ffn": 0, "gelu_ffn": 2, "gated_channel_mix": 2, "transformer_prefix": 0},
}


def _cost(config: RunConfig) -> float:
    with torch.device("meta"):
        model = LanguageModel(config)
    return model_cost(model).flops_per_token(config.model.n_layer, model.config.router.top_k)


def _of(kind: str, top_k: int, **groups: Any) -> RunConfig:
    return small_run("off", router={"kind": kind, "top_k": top_k}, **groups)


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("mix", [*MIXES, "by_mixer"])
def test_dense_costs_what_the_mix_costs_within_one_hidden_unit(mix: str, top_k: int) -> None:
    groups = BY_MIXER if mix == "by_mixer" else {"experts": MIXES[mix]}
    probe = small_run("off", router={"top_k": 1}, **groups)
    if top_k > probe.experts.total:
        pytest.skip("refused by the configuration")
    composed, dense = _of("topk", top_k, **groups), _of("dense", top_k, **groups)
    unit = 4 * dense.model.n_embd * dense.model.n_layer
    gate = 2 * 2 * 64 * (32 + 1) if probe.experts.total == 1 else 0  # topk has one even where there is no choice
    assert abs(_cost(composed) - gate - _cost(dense)) <= unit / 2
    built = as_built(dense, LanguageModel)
    assert (built.experts.total, built.router.top_k) == (1, 1)
    assert as_built(built, LanguageModel) == built


def test_a_dense_layer_holds_one_expert_and_no_gate_and_no_bridge() -> None:
    dense = small_run("off", router={"kind": "dense", "top_k": 2}, experts={"rwkv_ffn": 3, "transformer_prefix": 1})
    model = LanguageModel(dense)
    (expert,) = model.blocks[0].mixture.expert_list()
    assert expert.key.weight.shape == (dense_hidden(dense), 32)
    assert model.bridge is None
    assert not list(model.blocks[0].mixture.router.parameters())
    assert model.config.router.top_k == 1


def test_dense_grows_with_the_gate_whose_cost_it_matches() -> None:
    widths = [dense_hidden(_gated(hidden)) for hidden in (8, 64)]
    assert widths[1] - widths[0] == pytest.approx(2 * 4 * 56 * (32 + 1) / (4 * 32), abs=1)


def _gated(hidden: int) -> RunConfig:
    return small_run("off", router={"kind": "dense", "gate_hidden": hidden})


def test_learned_soft_lets_all_experts_win() -> None:
    built = as_built(_of("learned_soft", 2), LanguageModel)
    assert built.router.top_k == built.experts.total == 4
    assert _cost(_of("learned_soft", 1)) == _cost(_of("topk", 4))


@pytest.mark.parametrize("kind", ["dual_path", "token_hash", "modulo_prior", "frozen"])
def test_other_routers_leave_the_configuration_as_it_is(kind: str) -> None:
    config = _of(kind, 2)
    assert as_built(config, LanguageModel) is config
