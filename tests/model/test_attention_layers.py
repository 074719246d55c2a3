"""Models with attention layers: any schedule streams, stays causal, learns, and knows which layer is which."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.config import ConfigError, RunConfig
from camoe.model.causal_attention import CausalAttention
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.model.recurrent_state import RecurrentState
from camoe.model.rwkv_weights import load_rwkv_weights
from camoe.model.time_mix import TimeMix
from camoe.training.objectives import Batch, compute_losses
from tests.kernels.wkv7_cases import EVERY_BACKEND
from tests.small_run import small_run

T = 19
SCHEDULES: dict[str, dict[str, Any]] = {
    "top": {"layers": "top"},
    "interleave": {"layers": "interleave", "attention_ratio": 0.5, "attention_period": 2},
    "hybrid": {"layers": "hybrid", "attention_ratio": 0.5, "attention_period": 2},
    "lowest": {"layers": "explicit", "attention_indices": [0]},
    "all": {"layers": "top", "attention_ratio": 1.0},
}
ATTENTION = {"top": [3], "interleave": [1, 3], "hybrid": [1, 3], "lowest": [0], "all": [0, 1, 2, 3]}


def run_of(schedule: str, economy: str = "v21", *, rotary: bool = False, dea: bool = False, **groups: Any) -> RunConfig:
    model = {"n_layer": 4, "attention_rotary": rotary, "deep_embed_attention": dea, **SCHEDULES[schedule]}
    return small_run(economy, **{"experts": {"rwkv_ffn": 4, "transformer_prefix": 0}, **groups, "model": model})


def awake(config: RunConfig) -> LanguageModel:
    model = LanguageModel(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tokens(n_batch: int = 2, n_token: int = T) -> Tensor:
    return torch.randint(0, 256, (n_batch, n_token), generator=torch.Generator().manual_seed(0))


def in_pieces(model: LanguageModel, ids: Tensor, pieces: list[int]) -> Tensor:
    state: RecurrentState | None = None
    parts = []
    for piece in ids.split(pieces, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_schedule_decides_who_mixes(schedule: str) -> None:
    model = LanguageModel(run_of(schedule))
    found = [layer for layer, block in enumerate(model.blocks) if isinstance(block.attention, CausalAttention)]
    assert found == ATTENTION[schedule]
    assert all((block.att is None) == (block.attention is not None) for block in model.blocks)
    mixes = [block.att for block in model.blocks if isinstance(block.att, TimeMix)]
    assert [hasattr(mix, "v0") for mix in mixes] == [False, True, True, True][: len(mixes)]


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
@torch.no_grad()
def test_any_chunking_equals_the_full_pass(schedule: str, rotary: bool) -> None:
    model, ids = awake(run_of(schedule, rotary=rotary)), tokens()
    full, _ = model(ids)
    generator = torch.Generator().manual_seed(3)
    cuts = sorted((torch.randperm(T - 1, generator=generator)[:4] + 1).tolist())
    drawn = [end - start for start, end in zip([0, *cuts], [*cuts, T], strict=True)]
    for pieces in ([1] * T, [7, 1, T - 8], drawn):
        found = in_pieces(model, ids, pieces)
        assert float((found - full).abs().max()) < 1e-5 * max(1.0, float(full.abs().max()))


@torch.no_grad()
def test_experts_by_the_mixer_of_their_layer_stream_too() -> None:
    mix = {"policy": "by_mixer", "rwkv_ffn": 0, "transformer_prefix": 0, "gelu_ffn": 4, "gated_channel_mix": 4}
    model, ids = awake(run_of("hybrid", experts=mix)), tokens()
    full, _ = model(ids)
    assert float((in_pieces(model, ids, [4, 1, T - 5]) - full).abs().max()) < 1e-5 * max(1.0, float(full.abs().max()))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@torch.no_grad()
def test_every_backend_streams_beside_other_attention(backend: str) -> None:
    model = awake(run_of("lowest", rotary=True, dea=True))
    model.use_wkv_backend(backend, 16)
    full, _ = model(tokens(1))
    assert float((in_pieces(model, tokens(1), [1] * T) - full).abs().max()) < 1e-5 * float(full.abs().max())


@pytest.mark.parametrize("schedule", SCHEDULES)
@torch.no_grad()
def test_later_tokens_never_move_earlier_logits(schedule: str) -> None:
    model, ids = awake(run_of(schedule)), tokens()
    for first in (1, 6, T - 1):
        changed = ids.clone()
        changed[:, first:] = (ids[:, first:] + 1) % 256
        before, after = model(ids)[0], model(changed)[0]
        torch.testing.assert_close(before[:, :first], after[:, :first], rtol=0, atol=1e-5)
        assert float((before[:, first:] - after[:, first:]).abs().amax(-1).min()) > 1e-2


@torch.no_grad()
def test_rows_of_a_state_go_on_by_themselves() -> None:
    model, ids = awake(run_of("hybrid")), tokens(3)
    _, state = model(ids[:, :11])
    rows = torch.tensor([2, 0, 0])
    expected = model(ids[rows])[0][:, 11:]
    for copied in (state.select(rows), state.detach().select(rows)):
        torch.testing.assert_close(model(ids[rows, 11:], copied)[0], expected, rtol=0, atol=2e-5)
    # The state itself was only read: going on from it twice gives the same numbers.
    assert torch.equal(model(ids[:, 11:], state)[0], model(ids[:, 11:], state)[0])


@pytest.mark.parametrize(
    ("schedule", "economy"), [*((name, "v21") for name in SCHEDULES), ("hybrid", "calibrated"), ("all", "off")]
)
def test_it_learns(schedule: str, economy: str) -> None:
    """A few steps on one batch; the attention moves although its output starts at zero."""
    model, ids = LanguageModel(run_of(schedule, economy)), tokens(2, 17)
    batch, losses = Batch(ids[:, :-1], ids[:, 1:]), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    start = [block.attention.qkv.weight.clone() for block in model.blocks if block.attention is not None]
    for _ in range(6):
        result = compute_losses(model, batch)
        losses.append(float(result.token_loss.mean()))
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.5
    after = [block.attention.qkv.weight for block in model.blocks if block.attention is not None]
    assert all(not torch.equal(one, other) for one, other in zip(start, after, strict=True))


@pytest.mark.parametrize("recompute", ["block", "time_mix"])
def test_recomputation_repeats_the_gradients(recompute: str) -> None:
    ids, gradients = tokens(2, 17), []
    for choice in ("none", recompute):
        model = awake(run_of("lowest", rotary=True, train={"recompute": choice}))
        compute_losses(model, Batch(ids[:, :-1], ids[:, 1:])).total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    plain, again = gradients
    assert plain.keys() == again.keys()
    assert all(torch.equal(gradient, again[name]) for name, gradient in plain.items())


@torch.no_grad()
def test_bf16_streams_too() -> None:
    model, ids = awake(run_of("hybrid", rotary=True, train={"precision": "bf16"})), tokens()
    full, state = model(ids)
    assert state.layers[1].attention.keys.dtype == torch.bfloat16
    found = in_pieces(model, ids, [5, 1, T - 6])
    assert float((found - full).abs().max()) < 0.05 * float(full.abs().max())


def test_attention_belongs_to_the_backbone() -> None:
    model = LanguageModel(run_of("top"))
    groups = parameter_groups(model)
    assert stacked_matrices(model)["blocks.3.attention.qkv.weight"] == 3  # Muon takes q, k and v by themselves
    assert {"blocks.3.attention.qkv.weight", "blocks.3.attention.output.weight"} <= groups["rwkv_backbone"].keys()


def test_layers_without_attention_start_as_in_the_model_without_any() -> None:
    config = run_of("top")
    plain = small_run(model={"n_layer": 4}, experts={"rwkv_ffn": 4, "transformer_prefix": 0})
    with_attention, without = LanguageModel(config).state_dict(), LanguageModel(plain).state_dict()
    shared = [name for name in without if name in with_attention and torch.is_tensor(without[name])]
    assert {name for name in with_attention if name not in without} == {
        f"blocks.3.attention.{part}.weight" for part in ("qkv", "output")
    }
    assert all(torch.equal(with_attention[name], without[name]) for name in shared)


def test_weights_of_an_rwkv_leave_attention_layers_as_they_are() -> None:
    """Such a layer adds nothing yet: the model goes on from the RWKV without that layer's time mixing."""
    mix = {"experts": {"rwkv_ffn": 4, "transformer_prefix": 0}}
    donor = awake(small_run(model={"n_layer": 4}, **mix))
    official = {
        name.replace(".mixture.experts.0.", ".ffn."): value.detach().clone()
        for name, value in donor.named_parameters()
        if ".mixture." not in name or ".mixture.experts.0." in name
    }
    model = LanguageModel(run_of("lowest"))
    summary = load_rwkv_weights(model, {name: v for name, v in official.items() if not name.startswith("ln0")})
    first_values = {f"blocks.1.att.{name}" for name in ("v0", "v1", "v2")}
    assert set(summary.ignored) == {n for n in official if n.startswith("blocks.0.att.")} | first_values
    assert "blocks.0.attention.qkv.weight" in summary.left_as_initialised
    assert torch.equal(model.blocks[2].att.value.weight, donor.blocks[2].att.value.weight)


def test_the_bridge_needs_a_state_to_read() -> None:
    with pytest.raises(ConfigError, match=r"^experts\.transformer_prefix: 1 in every layer.*model\.layers=top"):
        small_run(model={"n_layer": 4, "layers": "top"})
