"""What RWKV-7 can express is written under official names bit for bit, and the rest is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from camoe.config import ConfigError
from camoe.model.language_model import LanguageModel
from camoe.model.rwkv_export import largest_difference, official_rwkv_weights
from camoe.model.rwkv_weights import load_rwkv_weights, read_rwkv_weights
from tests.small_run import small_run

FILE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rwkv7_weights" / "tiny_rwkv7_834k.safetensors"
ONE: dict[str, Any] = {"experts": {"rwkv_ffn": 1, "transformer_prefix": 0}, "router": {"top_k": 1}}
SEVERAL: dict[str, Any] = {"experts": {"rwkv_ffn": 3, "transformer_prefix": 0}}
UNTIED = {"tie_embeddings": False}
TOKENS = torch.arange(24).view(2, 12)


def synthetic() -> dict[str, torch.Tensor]:
    """Random weights of two layers under the names and in the shapes of official files."""
    model = LanguageModel(small_run("off", model=UNTIED, **ONE))
    return {name: 0.3 * torch.randn(tensor.shape) for name, tensor in official_rwkv_weights(model).items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.shape == second[name].shape, name
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("mix", [ONE, SEVERAL], ids=["one", "several"])
def test_a_synthetic_file_comes_back_bit_for_bit(tmp_path: Path, mix: dict[str, Any]) -> None:
    weights = synthetic()
    assert {name.split(".")[0] for name in weights} == {"emb", "head", "ln_out", "blocks"}
    assert {"blocks.0.ln0.weight", "blocks.1.ffn.x_k", "blocks.1.att.v0"} <= weights.keys()
    assert "blocks.0.att.v0" not in weights
    save_file(weights, tmp_path / "w.safetensors")
    model = LanguageModel(small_run("off", model=UNTIED, **mix))
    load_rwkv_weights(model, read_rwkv_weights(tmp_path / "w.safetensors"))
    assert_same(official_rwkv_weights(model), weights)
    assert largest_difference(model, weights, TOKENS) < 1e-4


@pytest.mark.skipif(not FILE.is_file(), reason="the RWKV-7 test weights are not beside this checkout")
def test_real_weights_come_back_bit_for_bit() -> None:
    shape = {"n_embd": 64, "n_layer": 12, "head_size": 64}
    model = LanguageModel(small_run("off", model={**UNTIED, **shape}, **SEVERAL))
    load_rwkv_weights(model, read_rwkv_weights(FILE))
    assert_same(official_rwkv_weights(model), load_file(FILE))


def test_a_tied_embedding_comes_back_with_a_head_of_its_own() -> None:
    model = LanguageModel(small_run("off", **ONE))
    assert model.head is None
    torch.nn.init.normal_(model.emb.weight)
    assert largest_difference(model, official_rwkv_weights(model), TOKENS) < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"expert 3 of layer 0 is a transformer_prefix$"),
        (SEVERAL, r"experts 0 and 1 of layer 0 differ; one or equal experts are needed$"),
        ({**ONE, "experts": {**ONE["experts"], "token_shift": False}}, r"no token shift \(experts\.token_shift\)$"),
        ({**ONE, "experts": {**ONE["experts"], "shared": 1}}, r"layer 0 has shared experts \(experts\.shared\)$"),
        ({**ONE, "model": {"layers": "top", "attention_ratio": 0.5}}, r"layer 1 has attention \(model\.layers\)$"),
        ({**ONE, "model": {"deep_embed_attention": True}}, r"has no official name$"),
        ({**ONE, "model": {"dynamics": "pid"}}, r"\.mu has no official name$"),
    ],
)
def test_what_rwkv_cannot_express_is_refused(settings: dict[str, Any], message: str) -> None:
    model = LanguageModel(small_run("off", **settings))
    with pytest.raises(ConfigError, match=rf"^job\.run: not to be written as RWKV-7 weights: .*{message}"):
        official_rwkv_weights(model)


def test_equal_experts_whose_weights_do_not_sum_to_1_are_refused() -> None:
    model = LanguageModel(small_run("off", model=UNTIED, **{**SEVERAL, "router": {"top_k": 1}}))
    weights = synthetic()
    load_rwkv_weights(model, weights)
    with pytest.raises(ConfigError, match=r"do not sum to 1 \(router\.kind=dual_path, router\.top_k=1\)$"):
        largest_difference(model, official_rwkv_weights(model), TOKENS)
