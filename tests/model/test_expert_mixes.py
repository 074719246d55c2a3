"""Mixes of all kinds: sorted and grouped dispatch against running every expert on every token, and whole models."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.config import RunConfig
from camoe.config.experts import KINDS, ExpertsConfig, expert_labels
from camoe.config.model import ModelConfig
from camoe.kernels import grouped_products
from camoe.kernels.dispatch_plan import plan_dispatch
from camoe.kernels.grouped_products import RowGroups
from camoe.model.bridge import LinearStateBridge
from camoe.model.cost import model_cost, room_costs
from camoe.model.dispatch import TokenInputs, run_experts
from camoe.model.experts.build import build_experts
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.grouped_dispatch import run_experts_grouped
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.model.routing_trace import RoutingTrace
from camoe.training.objectives import Batch
from camoe.training.self_check import self_check
from tests.model.no_waiting import NoWaiting
from tests.small_run import small_run

C, P, RANK = 16, 2, 4
EVERY_KIND = dict.fromkeys(KINDS, 1)
MIXES: dict[str, dict[str, Any]] = {
    "every kind": EVERY_KIND,
    "two of every kind": dict.fromkeys(KINDS, 2),
    "swiglu": {"rwkv_ffn": 0, "swiglu": 4, "transformer_prefix": 0},
    "moe++": {"rwkv_ffn": 2, "zero": 1, "copy": 1, "constant": 2, "transformer_prefix": 0},
    "feed-forward": {"rwkv_ffn": 1, "gelu_ffn": 2, "gated_channel_mix": 1, "transformer_prefix": 1},
    "nothing to learn": {"rwkv_ffn": 0, "zero": 2, "copy": 2, "transformer_prefix": 0},
}


def by_groups(a: Tensor, b: Tensor, *, offs: Tensor) -> Tensor:
    """What torch's grouped_mm computes, in float64 too; rows of no group are not a number."""
    pieces = list(pairwise([0, *offs.tolist()]))
    if b.dim() == 2:
        return torch.stack([a[:, start:end] @ b[start:end] for start, end in pieces])
    out = a.new_full((len(a), b.shape[-1]), torch.nan)
    for (start, end), matrix in zip(pieces, b, strict=True):
        out[start:end] = a[start:end] @ matrix
    return out


@pytest.fixture
def _products_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_products.F, "grouped_mm", by_groups)


class Layer:
    """A layer's experts in float64 and tokens with their winners."""

    def __init__(self, mix: str, n_token: int, top_k: int, hidden: int = 12) -> None:
        model = ModelConfig(n_embd=C, n_layer=2, head_size=16, prefix_len=P, low_rank=RANK)
        config = ExpertsConfig(**MIXES[mix], hidden=hidden)
        self.experts = [expert.double() for expert in build_experts(0, model, config, seed=0, name="e")]
        generator = torch.Generator().manual_seed(n_token)
        for parameter in (parameter for expert in self.experts for parameter in expert.parameters()):
            torch.nn.init.normal_(parameter, std=0.4, generator=generator)
        self.bridge = LinearStateBridge(C, P, RANK).double()
        self.h, self.previous, self.readout = (
            torch.randn(n_token, C, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(3)
        )
        self.winners = torch.rand(n_token, len(self.experts), generator=generator).topk(top_k).indices
        self.weights = torch.rand(n_token, top_k, dtype=torch.float64, generator=generator, requires_grad=True)

    def retire(self, share: float) -> Tensor:
        """Let a share of winners serve nobody; returns which still serve, [n,K]."""
        active = torch.rand(self.winners.shape, generator=torch.Generator().manual_seed(5)) >= share
        self.winners = self.winners.masked_fill(~active, len(self.experts))
        self.weights = self.weights.detach().masked_fill(~active, 0).requires_grad_()
        return active

    def inputs(self) -> TokenInputs:
        def make_low(tokens: Tensor | None, groups: RowGroups | None) -> Tensor:
            rows = slice(None) if tokens is None else tokens
            return self.bridge(self.h[rows], self.readout[rows], groups=groups)

        return TokenInputs(self.h, self.previous, make_low, self.bridge.prefix_map())

    def dense(self) -> Tensor:
        """Every expert on every token."""
        context = ExpertContext(self.previous, self.bridge(self.h, self.readout), self.bridge.prefix_map())
        outputs = [expert(self.h, context) for expert in self.experts]
        every = torch.stack([*outputs, torch.zeros_like(self.h)], dim=1)  # the last is nobody's
        chosen = every.gather(1, self.winners.unsqueeze(-1).expand(*self.winners.shape, C))
        return (chosen * self.weights.unsqueeze(-1)).sum(1)

    def gradients(self, out: Tensor) -> list[Tensor]:
        mine = [parameter for expert in self.experts for parameter in expert.parameters()]
        wrt = [self.h, self.previous, self.readout, self.weights, *self.bridge.parameters(), *mine]
        cotangent = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        return list(torch.autograd.grad((out * cotangent).sum(), wrt, materialize_grads=True, allow_unused=True))


@pytest.mark.usefixtures("_products_in_float64")
@pytest.mark.parametrize("form", [run_experts, run_experts_grouped])
@pytest.mark.parametrize("mix", list(MIXES))
@pytest.mark.parametrize(("n_token", "top_k"), [(1, 2), (23, 1), (23, 4)])
def test_every_mix_is_the_dense_sum_with_gradients(form: Any, mix: str, n_token: int, top_k: int) -> None:
    layer = Layer(mix, n_token, top_k)
    out, dense = form(layer.experts, layer.winners, layer.weights, layer.inputs()), layer.dense()
    torch.testing.assert_close(out, dense, rtol=1e-10, atol=1e-11)
    for ours, reference in zip(layer.gradients(out), layer.gradients(dense), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(form(layer.experts, layer.winners, layer.weights, layer.inputs()), dense.detach())


@pytest.mark.usefixtures("_products_in_float64")
@pytest.mark.parametrize("form", [run_experts, run_experts_grouped])
@pytest.mark.parametrize("mix", ["every kind", "moe++"])
@pytest.mark.parametrize("idle", [0.4, 0.95, 1.0])
@pytest.mark.parametrize("n_token", [1, 23])
def test_winners_that_do_not_serve_count_for_nothing(form: Any, mix: str, idle: float, n_token: int) -> None:
    """As many winners as experts, most of them idle: what routers of variable k decide."""
    layer = Layer(mix, n_token, top_k=sum(MIXES[mix].values()))
    layer.retire(idle)
    out, dense = form(layer.experts, layer.winners, layer.weights, layer.inputs()), layer.dense()
    torch.testing.assert_close(out, dense, rtol=1e-10, atol=1e-11)
    for ours, reference in zip(layer.gradients(out), layer.gradients(dense), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-10)


def test_idle_winners_share_one_row() -> None:
    layer = Layer("every kind", n_token=23, top_k=8)
    serving = int(layer.retire(0.8).sum())
    plan = plan_dispatch(layer.winners, len(layer.experts))
    assert (len(plan.tokens), sum(plan.counts[:-1]), plan.counts[-1]) == (serving + 1, serving, 1)
    assert torch.equal(plan.places == serving, layer.winners == len(layer.experts))


@pytest.mark.usefixtures("_products_in_float64")
@pytest.mark.parametrize("form", [run_experts, run_experts_grouped])
@pytest.mark.parametrize("idle", [0.0, 0.5])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("zero", "copy")])
def test_a_non_finite_expert_harms_only_its_own_tokens(form: Any, kind: str, idle: float) -> None:
    layer = Layer("two of every kind", n_token=60, top_k=3)
    layer.retire(idle)
    bad = next(index for index, expert in enumerate(layer.experts) if expert.kind == kind)
    with torch.no_grad():
        for parameter in layer.experts[bad].parameters():
            parameter.fill_(torch.nan)
    out = form(layer.experts, layer.winners, layer.weights, layer.inputs())
    served = (layer.winners == bad).any(-1)
    assert 0 < int(served.sum()) < 60
    assert torch.equal(out.isnan().any(-1), served)


def _single_precision(layer: Layer) -> Layer:
    for module in (*layer.experts, layer.bridge):
        module.float()
    for name in ("h", "previous", "readout", "weights"):
        setattr(layer, name, getattr(layer, name).detach().float().requires_grad_())
    return layer


@pytest.mark.parametrize("idle", [0.0, 0.5])
def test_the_grouped_form_of_every_kind_never_waits_for_the_device(idle: float) -> None:
    layer = _single_precision(Layer("two of every kind", n_token=37, top_k=3))
    layer.retire(idle)
    with NoWaiting():
        layer.gradients(run_experts_grouped(layer.experts, layer.winners, layer.weights, layer.inputs()))


def test_bfloat16_rounds_every_kind_in_both_forms_alike() -> None:
    """Against float32: the grouped form is no farther from it than a few roundings more."""
    layer = _single_precision(Layer("two of every kind", n_token=37, top_k=3, hidden=16))

    def results(form: Any) -> list[Tensor]:
        out = form(layer.experts, layer.winners, layer.weights, layer.inputs())
        assert out.dtype == torch.float32
        return [out.detach(), *layer.gradients(out)]

    exact = results(run_experts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = zip(exact, results(run_experts_grouped), results(run_experts), strict=True)
    for wanted, grouped, segments in rounded:
        off, off_too = float((grouped - wanted).norm()), float((segments - wanted).norm())
        assert off <= 2 * off_too + 0.02 * float(wanted.norm()) + 1e-6


def _awake(config: RunConfig) -> LanguageModel:
    model = LanguageModel(config)
    torch.manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("mix", ["two of every kind", "moe++"])
@torch.no_grad()
def test_streaming_equals_the_full_pass(mix: str) -> None:
    model = _awake(small_run("off", experts={**MIXES[mix], "shared": 1})).eval()
    tokens = torch.randint(0, 256, (2, 11), generator=torch.Generator().manual_seed(0))
    whole, _ = model(tokens)
    pieces, state = [], None
    for start, end in pairwise((0, 1, 2, 7, 11)):
        logits, state = model(tokens[:, start:end], state)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-4)


def test_a_shared_expert_adds_its_output_and_routes_nothing() -> None:
    without, shared = (_awake(small_run("off", experts={"shared": n, "shared_kind": "gelu_ffn"})) for n in (0, 2))
    shared.load_state_dict({**shared.state_dict(), **without.state_dict()})
    tokens, traces = torch.randint(0, 256, (2, 9)), (RoutingTrace(), RoutingTrace())
    seen: list[tuple[Tensor, Tensor]] = []
    mixtures = [model.blocks[0].mixture for model in (without, shared)]
    for mixture in mixtures:
        mixture.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out[0])))
    for model, trace in zip((without, shared), traces, strict=True):
        model(tokens, trace=trace)
    (h, routed), (_, mixed) = seen
    extra = sum(expert(h.flatten(0, 1), ExpertContext(h.flatten(0, 1))) for expert in mixtures[1].shared)
    torch.testing.assert_close(mixed, routed + extra.view_as(h))
    assert torch.equal(traces[0].layers[0].decision.experts, traces[1].layers[0].decision.experts)


def test_a_shared_expert_is_counted_whole() -> None:
    with torch.device("meta"):
        plain, shared = (LanguageModel(small_run(experts={"shared": n, "shared_kind": "swiglu"})) for n in (0, 1))
    own = 2 * 3 * 32 * 32  # both layers; a quarter of the width 128
    assert room_costs(shared)["shared_experts"].active_params == room_costs(shared)["shared_experts"].params == own
    before, after = model_cost(plain), model_cost(shared)
    assert after.total_params - before.total_params == after.active_params - before.active_params == own
    assert after.other_flops - before.other_flops == 2 * own
    assert after.expert_flops == before.expert_flops
    groups = parameter_groups(shared)
    assert sum(".mixture.shared." in name for name in groups["rwkv_experts"]) == 6


def test_experts_by_the_mixer_of_their_layer() -> None:
    experts = {"policy": "by_mixer", "rwkv_ffn": 0, "gelu_ffn": 3, "gated_channel_mix": 3, "hidden": 40}
    config = ExpertsConfig(**experts)
    assert config.counts(attention=True) == {"gelu_ffn": 3, "transformer_prefix": 1}
    assert config.counts(attention=False) == {"gated_channel_mix": 3, "transformer_prefix": 1}
    assert (config.total, config.first_prefix, expert_labels(config)) == (4, 3, ["G0", "G1", "G2", "T0"])
    model = ModelConfig(n_embd=32, n_layer=3, head_size=16, layers="explicit", attention_indices=[1])
    kinds = [[expert.kind for expert in build_experts(i, model, config, seed=0, name="e")] for i in range(3)]
    rwkv, attention = [*["gated_channel_mix"] * 3, "transformer_prefix"], [*["gelu_ffn"] * 3, "transformer_prefix"]
    assert kinds == [rwkv, attention, rwkv]


@pytest.mark.parametrize("mix", [name for name in MIXES if name != "nothing to learn"])
@pytest.mark.parametrize("economy", ["off", "calibrated"])
def test_the_start_up_check_passes(mix: str, economy: str) -> None:
    model = LanguageModel(small_run(economy, experts=MIXES[mix]))
    tokens = torch.randint(0, 256, (2, 17), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens[:, :-1], tokens[:, 1:])
    assert self_check(model, batch)


def test_layers_of_different_cost_keep_their_own_figures() -> None:
    experts = {"policy": "by_mixer", "rwkv_ffn": 0, "gelu_ffn": 4, "gated_channel_mix": 4, "transformer_prefix": 0}
    layers = {"layers": "explicit", "attention_indices": [1]}
    with torch.device("meta"):
        cost = model_cost(LanguageModel(small_run("off", experts=experts, model=layers)))
    gelu, gated = 4 * 32 * 128, 4 * 32 * 128 + 2 * 32 * 32
    assert cost.expert_flops == [[gated] * 4, [gelu] * 4]
    assert cost.flops_per_token(2, 2) == cost.other_flops + 2 * gated + 2 * gelu


def _kinds(experts: list[Expert]) -> list[str]:
    return [expert.kind for expert in experts]


def test_experts_stand_kind_by_kind_and_the_default_mix_is_what_it_was() -> None:
    model = ModelConfig(n_embd=32, n_layer=1, head_size=16)
    assert _kinds(build_experts(0, model, ExpertsConfig(**EVERY_KIND, hidden=8), seed=0, name="e")) == list(KINDS)
    default = build_experts(0, model, ExpertsConfig(), seed=0, name="e")
    assert _kinds(default) == ["rwkv_ffn"] * 3 + ["transformer_prefix"]
    assert default[0].key.weight.shape == (128, 32)
