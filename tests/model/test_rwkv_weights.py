"""Official RWKV-7 weights mean the same in a CaMoE."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from camoe.config import ConfigError
from camoe.model.language_model import LanguageModel
from camoe.model.rwkv_weights import load_rwkv_weights, read_rwkv_weights
from camoe.routing.election_terms import ElectionTerms
from tests.kernels.wkv7_cases import EVERY_BACKEND
from tests.small_run import small_run

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rwkv7_weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the RWKV-7 test weights are not beside this checkout")


def _camoe(**overrides: object) -> LanguageModel:
    settings: dict = {
        "model": {"n_embd": 64, "n_layer": 12, "head_size": 64, "tie_embeddings": False},
        "experts": {"rwkv_ffn": 4, "transformer_prefix": 0},
        "tokenizer": {"kind": "byte", "vocab_size": 256},
    }
    return LanguageModel(small_run(**{**settings, **overrides}))


@needs_weights
@pytest.mark.parametrize("top_k", [2, 3])
@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_the_published_logits_whatever_the_router_elects(top_k: int, backend: str) -> None:
    expected = json.loads((WEIGHTS / "tiny_rwkv7_834k_expected.json").read_text())
    model = _camoe(router={"top_k": top_k})
    model.use_wkv_backend(backend, 16)
    summary = load_rwkv_weights(model, read_rwkv_weights(WEIGHTS / "tiny_rwkv7_834k.safetensors"))
    assert summary.ignored == []
    assert all(".router." in name or ".critic." in name for name in summary.left_as_initialised)
    prompt, published = torch.tensor([expected["prompt_bytes"]]), torch.tensor(expected["logits_after_last_byte"])
    noise = torch.randn(1, 12, prompt.shape[1], 4)
    for elections in (None, 1e3 * noise, -1e3 * noise):
        logits, _ = model(prompt, terms=ElectionTerms(elections))
        assert float((logits[0, -1].detach() - published).abs().max()) < 1e-5


@needs_weights
def test_noise_makes_the_experts_differ() -> None:
    model = _camoe()
    load_rwkv_weights(model, read_rwkv_weights(WEIGHTS / "tiny_rwkv7_834k.safetensors"), noise_std=0.01)
    first, second = (model.blocks[3].mixture.experts[i].key.weight for i in (0, 1))
    assert 0.005 < float((first - second).detach().std()) < 0.03


def test_a_wrong_size_names_both(tmp_path: Path) -> None:
    save_file({"emb.weight": torch.zeros(300, 64)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"emb\.weight: the file has \[300, 64\], the model needs \[256, 64\]"):
        load_rwkv_weights(_camoe(), read_rwkv_weights(tmp_path / "w.safetensors"))


def test_a_file_that_is_no_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"no tensors here")
    with pytest.raises(ConfigError, match="not a readable"):
        read_rwkv_weights(tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="no such file"):
        read_rwkv_weights(tmp_path / "none.safetensors")


def _official(model: LanguageModel) -> dict[str, torch.Tensor]:
    """Weights as an official file names them, all 1, that fit the model; its layer 0 has an unused value residual."""
    names = {}
    for name, parameter in model.named_parameters():
        if found := re.fullmatch(r"(blocks\.\d+)\.mixture\.experts\.0\.(.+)", name):
            names[f"{found[1]}.ffn.{found[2]}"] = parameter
        elif name.startswith("ln0."):
            names[f"blocks.0.{name}"] = parameter
        elif ".mixture." not in name and not name.startswith("bridge."):
            names[name] = parameter
    names["blocks.0.att.v0"] = names["blocks.0.att.a0"]
    return {name: torch.ones_like(parameter) for name, parameter in names.items()}


@pytest.mark.parametrize(
    ("file", "model", "message"),
    [
        ({"n_layer": 3}, {"n_layer": 2}, r"^model\.n_layer: the file has 3 layers, the model 2$"),
        ({"tie_embeddings": False}, {"tie_embeddings": True}, r"^head\.weight \[256, 32\]: .*tie_embeddings=false$"),
        ({"deep_embed_attention": True}, {}, r"^\S+ \[.*\]: finds no place in the model"),
    ],
)
def test_a_file_that_finds_no_place_is_refused_before_anything_is_copied(file: dict, model: dict, message: str) -> None:
    weights = _official(LanguageModel(small_run(model=file)))
    target = LanguageModel(small_run(model=model))
    before = [parameter.clone() for parameter in target.parameters()]
    # Whatever the order of the file: what does not fit comes last here.
    own = [parameter.shape for parameter in target.parameters()]
    weights = dict(sorted(weights.items(), key=lambda item: item[1].shape not in own))
    with pytest.raises(ConfigError, match=message):
        load_rwkv_weights(target, weights)
    assert all(torch.equal(*pair) for pair in zip(before, target.parameters(), strict=True))


def test_a_wrong_size_at_the_end_of_the_file_leaves_the_model_as_it_was() -> None:
    model = LanguageModel(small_run())
    before = [parameter.clone() for parameter in model.parameters()]
    weights = _official(model)
    weights["ln_out.bias"] = weights.pop("ln_out.bias")[:16]
    with pytest.raises(ConfigError, match=r"^ln_out\.bias: the file has \[16\], the model needs \[32\]$"):
        load_rwkv_weights(model, weights)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("experts", "ignored"),
    [
        ({}, {"blocks.0.att.v0"}),
        ({"token_shift": False}, {"blocks.0.att.v0", "blocks.0.ffn.x_k", "blocks.1.ffn.x_k"}),
        ({"rwkv_ffn": 0, "transformer_prefix": 4}, {"blocks.0.att.v0", "ffn"}),
    ],
)
def test_what_a_model_leaves_out_by_design_is_reported(experts: dict, ignored: set[str]) -> None:
    weights = _official(LanguageModel(small_run()))
    model = LanguageModel(small_run(experts=experts))
    summary = load_rwkv_weights(model, weights)
    found = {"ffn" if ignored & {"ffn"} and ".ffn." in name else name for name in summary.ignored}
    assert found == ignored
    assert set(summary.consumed) == weights.keys() - set(summary.ignored)
    filled = {name for name, parameter in model.named_parameters() if bool((parameter == 1).all())}
    assert not filled & set(summary.left_as_initialised) - {n for n in filled if "norm" in n or ".feature.1." in n}
    assert filled | set(summary.left_as_initialised) == dict(model.named_parameters()).keys()


def test_shared_experts_are_left_alone_and_a_fresh_one_adds_nothing() -> None:
    only_rwkv = {"rwkv_ffn": 3, "transformer_prefix": 0}
    weights = _official(LanguageModel(small_run("off", experts=only_rwkv)))
    weights = {name: 0.3 * torch.randn(tensor.shape) for name, tensor in weights.items()}
    plain, shared = (LanguageModel(small_run("off", experts={**only_rwkv, "shared": n})) for n in (0, 1))
    load_rwkv_weights(plain, weights)
    summary = load_rwkv_weights(shared, weights)
    assert sum(".mixture.shared.0." in name for name in summary.left_as_initialised) == 2 * 3
    prompt = torch.arange(12)[None]
    assert torch.equal(plain(prompt)[0], shared(prompt)[0])


def test_one_winner_of_several_is_scaled_by_its_probability() -> None:
    weights = _official(
        LanguageModel(small_run("off", experts={"rwkv_ffn": 1, "transformer_prefix": 0}, router={"top_k": 1}))
    )
    weights = {name: 0.3 * torch.randn(tensor.shape) for name, tensor in weights.items()}
    prompt, logits = torch.arange(12)[None], {}
    for n_expert, top_k in ((1, 1), (4, 2), (4, 1)):
        model = LanguageModel(
            small_run("off", experts={"rwkv_ffn": n_expert, "transformer_prefix": 0}, router={"top_k": top_k})
        )
        load_rwkv_weights(model, weights)
        logits[n_expert, top_k] = model(prompt)[0]
    torch.testing.assert_close(logits[4, 2], logits[1, 1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits[4, 1], logits[1, 1], rtol=1e-2, atol=1e-2)
