"""The language model: one forward for every way of reading a text, and a fresh model that knows nothing."""

import math
from typing import Any

import pytest
import torch

from camoe.config.run import RunConfig
from camoe.model.language_model import LanguageModel
from camoe.model.recurrent_state import RecurrentState
from camoe.model.routing_trace import RoutingTrace
from camoe.model.weights_hash import weights_hash
from camoe.routing.election_terms import ElectionTerms
from camoe.training.objectives import Batch, compute_losses
from tests.config.compositions import hydra_ready, run_config
from tests.small_run import small_run

T = 23


def _trained(config: RunConfig) -> LanguageModel:
    """A model whose weights are all alive, as after training."""
    model = LanguageModel(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _tokens(batch: int = 2, vocab: int = 256) -> torch.Tensor:
    return torch.randint(0, vocab, (batch, T), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dea", [False, True])
@pytest.mark.parametrize("router", ["dual_path", "market_only"])
@pytest.mark.parametrize("pieces", [[1] * T, [7, 1, 15], [20, 3], [T]])
@torch.no_grad()
def test_any_chunking_equals_the_full_pass(dea: bool, router: str, pieces: list[int]) -> None:
    model = _trained(small_run(model={"deep_embed_attention": dea}, router={"kind": router}))
    tokens = _tokens()
    full, _ = model(tokens)
    state: RecurrentState | None = None
    parts = []
    for piece in tokens.split(pieces, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    assert float((torch.cat(parts, 1) - full).abs().max()) < 1e-5 * max(1.0, float(full.abs().max()))


@torch.no_grad()
def test_two_evaluations_are_equal_and_leave_the_market_alone() -> None:
    model = _trained(small_run())
    before = {name: value.clone() for name, value in model.market.state_dict().items() if "extra" not in name}
    first, second = model(_tokens())[0], model(_tokens())[0]
    assert torch.equal(first, second)
    assert all(torch.equal(value, model.market.state_dict()[name]) for name, value in before.items())


def test_the_language_model_loss_reaches_the_state_through_the_bridge() -> None:
    model = _trained(small_run(experts={"rwkv_ffn": 0, "transformer_prefix": 3}))
    tokens = _tokens()
    captured = []
    original = model.bridge.forward

    def watched(h: torch.Tensor, readout: torch.Tensor, *rest: Any) -> torch.Tensor:
        readout.retain_grad()
        captured.append(readout)
        return original(h, readout, *rest)

    model.bridge.forward = watched
    compute_losses(model, Batch(tokens[:, :-1], tokens[:, 1:])).terms[0].value.backward()
    assert len(captured) == 2
    assert all(float(readout.grad.norm()) > 0 for readout in captured)


@torch.no_grad()
def test_noise_moves_elections_only_when_it_is_given() -> None:
    model = _trained(small_run(router={"noise_std": 5.0}))
    quiet, noisy = RoutingTrace(), RoutingTrace()
    model(_tokens(), trace=quiet)
    model(_tokens(), terms=ElectionTerms(torch.randn(2, 2, T, 4)), trace=noisy)
    assert not torch.equal(quiet.stacked("experts"), noisy.stacked("experts"))
    again = RoutingTrace()
    model(_tokens(), trace=again)
    assert torch.equal(quiet.stacked("experts"), again.stacked("experts"))


def test_a_mix_shares_its_initial_weights_with_every_other_mix_where_they_have_the_same() -> None:
    one = weights_hash(LanguageModel(small_run()))
    other = weights_hash(LanguageModel(small_run("off", router={"top_k": 1}, train={"ctx_len": 64})))
    assert {name: value for name, value in one.items() if name != "critic"} == {
        name: value for name, value in other.items() if name != "critic"
    }
    assert one["rwkv_backbone"] == weights_hash(LanguageModel(small_run(experts={"rwkv_ffn": 5})))["rwkv_backbone"]
    assert one["rwkv_backbone"] != weights_hash(LanguageModel(small_run(seeds={"init": 1})))["rwkv_backbone"]


@pytest.mark.parametrize("preset", ["tiny", "pilot", "0.4b", "0.4b_toy"])
@torch.no_grad()
def test_a_fresh_model_knows_nothing(preset: str) -> None:
    """Loss within 5 % of ln V at the preset's width and vocabulary; two layers keep the large ones affordable."""
    with hydra_ready():
        config = run_config(f"model={preset}", *([] if preset == "tiny" else ["model.n_layer=2"]))
    vocab = config.tokenizer.vocab_size
    tokens = torch.randint(0, vocab, (1, 33), generator=torch.Generator().manual_seed(0))
    losses = compute_losses(LanguageModel(config), Batch(tokens[:, :-1], tokens[:, 1:]))
    assert float(losses.token_loss.mean()) == pytest.approx(math.log(vocab), rel=0.05)
