"""Official RWKV-7 weights mean the same in a CaMoE."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from camoe.config import ConfigError
from camoe.model.language_model import LanguageModel
from camoe.model.rwkv_weights import load_rwkv_weights, read_rwkv_weights
from tests.small_run import small_run

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rwkv7_weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the RWKV-7 test weights are not beside this checkout")


def _camoe(**overrides: object) -> LanguageModel:
    settings = {
        "model": {"n_embd": 64, "n_layer": 12, "head_size": 64, "tie_embeddings": False},
        "experts": {"rwkv_ffn": 4, "transformer_prefix": 0},
        "tokenizer": {"kind": "byte", "vocab_size": 256},
    }
    return LanguageModel(small_run(**{**settings, **overrides}))


@needs_weights
@pytest.mark.parametrize("top_k", [2, 3])
@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_the_published_logits_whatever_the_router_elects(top_k: int, backend: str) -> None:
    expected = json.loads((WEIGHTS / "tiny_rwkv7_834k_expected.json").read_text())
    model = _camoe(router={"top_k": top_k}, kernel={"wkv": backend})
    summary = load_rwkv_weights(model, read_rwkv_weights(WEIGHTS / "tiny_rwkv7_834k.safetensors"))
    assert summary.ignored == []
    assert all(".router." in name or ".critic." in name for name in summary.left_as_initialised)
    prompt, published = torch.tensor([expected["prompt_bytes"]]), torch.tensor(expected["logits_after_last_byte"])
    noise = torch.randn(1, 12, prompt.shape[1], 4)
    for elections in (None, 1e3 * noise, -1e3 * noise):
        logits, _ = model(prompt, noise=elections)
        assert float((logits[0, -1] - published).abs().max()) < 1e-5


@needs_weights
def test_noise_makes_the_experts_differ() -> None:
    model = _camoe()
    load_rwkv_weights(model, read_rwkv_weights(WEIGHTS / "tiny_rwkv7_834k.safetensors"), noise_std=0.01)
    first, second = (model.blocks[3].mixture.experts[i].key.weight for i in (0, 1))
    assert 0.005 < float((first - second).std()) < 0.03


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
