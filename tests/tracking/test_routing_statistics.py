"""The vectorised statistics against the formulas of metric_definitions.py written out token by token."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from safetensors.torch import load_file, save_file

from camoe.config.capacity import CapacityConfig
from camoe.model.routing_trace import LayerRouting, RoutingTrace
from camoe.routing.capacity import Capacity
from camoe.routing.decision import RoutingDecision
from camoe.tracking.distribution import maxvio_of_chance
from camoe.tracking.metric_definitions import BY_RECORDED_NAME, undefined_names
from camoe.tracking.routing_statistics import RoutingStatistics

SIZES = [(1, 2), (1, 5), (2, 3), (2, 8), (3, 3), (1, 1)]  # K, E

OF_CAPACITY = {"routing/capacity_use", "routing/drop_rate", "routing/token_drop_rate"}
FIELDS = [field.name for field in fields(RoutingDecision) if field.default is MISSING]


def random_routing(k: int, n_expert: int, seed: int = 0, batch: int = 3, length: int = 7) -> RoutingDecision:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, batch, length, n_expert)
    gate, bias, noise = (torch.randn(shape, generator=generator) for _ in range(3))
    adjusted = gate + bias
    bids = adjusted + 0.5 * noise
    ordered = bids.sort(-1, descending=True)
    experts = ordered.indices[..., :k]
    price = ordered.values[..., k] if k < n_expert else torch.full(shape[:-1], math.nan)
    weights = gate.gather(-1, experts).softmax(-1) if k > 1 else gate.softmax(-1).gather(-1, experts)
    return RoutingDecision(experts, weights, price, gate, bias, adjusted)


def random_mask(seed: int, batch: int = 3, length: int = 7) -> torch.Tensor:
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < 0.7


def entropy(probability: list[float]) -> float:
    return -sum(p * math.log(p) for p in probability if p > 0)


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(z) for z in scores]
    return [power / sum(powers) for power in powers]


def top_k(scores: list[float], k: int) -> set[int]:
    return set(sorted(range(len(scores)), key=lambda e: -scores[e])[:k])


def deviation(scores: list[float]) -> float:
    mean = fmean(scores)
    return math.sqrt(fmean([(z - mean) ** 2 for z in scores]))


def literal_layer(windows: list[tuple[RoutingDecision, torch.Tensor]], layer: int, n_rwkv: int) -> dict[str, float]:
    """Every per-layer metric, from loops."""
    loads, tokens = [], []
    for routing, mask in windows:
        load = [0.0] * routing.gate_logits.shape[-1]
        for b, t in mask.nonzero().tolist():
            place = (layer, b, t)
            token = {name: getattr(routing, name)[place].tolist() for name in FIELDS}
            active = [True] * len(token["experts"]) if routing.active is None else routing.active[place].tolist()
            token["served_by"] = [e for e, serves in zip(token["experts"], active, strict=True) if serves]
            if len(active) == len(load):  # then all are named, and those elected are those who serve
                token["experts"] = token["served_by"]
            token["weights"] = [w for w, serves in zip(token["weights"], active, strict=True) if serves]
            tokens.append(token)
            for e in token["served_by"]:
                load[e] += 1
        loads.append(load)
    return {**literal_load(loads, n_rwkv), **literal_tokens(tokens, n_rwkv, windows[0][0].experts.shape[-1])}


def literal_load(loads: list[list[float]], n_rwkv: int) -> dict[str, float]:
    load = [sum(column) for column in zip(*loads, strict=True)]
    n, total, mean = len(load), sum(load), fmean(load)
    share = [count / total for count in load]
    return {
        "routing/maxvio_batch": max(load) / mean - 1,
        "routing/maxvio_micro": fmean([max(one) / fmean(one) - 1 for one in loads]),
        "routing/minvio": 1 - min(load) / mean,
        "routing/load_cv": deviation(load) / mean,
        "routing/load_entropy": entropy(share) / math.log(n) if n > 1 else 1,
        "routing/effective_experts": math.exp(entropy(share)),
        "routing/kl_uniform": math.log(n) - entropy(share),
        "routing/balance_count": n * sum((a / total) ** 2 for a in load),
        "routing/load_gini": sum(abs(a - b) for a in load for b in load) / (2 * n * total),
        "routing/dead_experts": sum(count < 0.01 * mean for count in load),
        "routing/trans_share": sum(load[n_rwkv:]) / total,
    }


def literal_tokens(tokens: list[dict], n_rwkv: int, k: int) -> dict[str, float]:
    n_expert = len(tokens[0]["gate_logits"])
    nats = math.log(n_expert) if n_expert > 1 else 1
    gates = [softmax(token["gate_logits"]) for token in tokens]
    marginal = [fmean(column) for column in zip(*gates, strict=True)]
    weights = [[w / max(sum(token["weights"]), 1e-12) for w in token["weights"]] for token in tokens]
    size = [len(token["experts"]) for token in tokens]
    total = sum(len(token["served_by"]) for token in tokens)
    served = [sum(e in token["served_by"] for token in tokens) / total for e in range(n_expert)]
    log_z = [math.log(sum(math.exp(z) for z in token["gate_logits"])) for token in tokens]
    token_entropy = fmean([entropy(gate) for gate in gates]) / nats
    marginal_entropy = entropy(marginal) / nats if n_expert > 1 else 1
    dear = sum(w for token in tokens for w, e in zip(token["weights"], token["served_by"], strict=True) if e >= n_rwkv)
    adjusted = fmean([entropy(softmax(token["adjusted_logits"])) for token in tokens])
    expected = {
        "routing/winners_per_token": total / len(tokens),
        "routing/balance_raw": n_expert * sum(f * p for f, p in zip(served, marginal, strict=True)),
        "routing/router_z": fmean(log_z),
        "routing/z_raw": fmean([z * z for z in log_z]),
        "routing/gate_std": fmean([deviation(token["gate_logits"]) for token in tokens]),
        "routing/gate_entropy_token": token_entropy,
        "routing/gate_entropy_marginal": marginal_entropy,
        "routing/gate_mi": marginal_entropy - token_entropy,
        "routing/topk_mass": fmean(
            [sum(gate[e] for e in token["experts"]) for gate, token in zip(gates, tokens, strict=True)]
        ),
        "routing/winner_from_adjusted_entropy": adjusted,
        "routing/adjusted_entropy_normalised": adjusted / nats,
        "routing/weight_entropy": fmean([entropy(weight) for weight in weights]),
        "routing/trans_weight_share": dear / sum(sum(token["weights"]) for token in tokens),
        "routing/noise_flip_rate": fmean(
            [top_k(token["adjusted_logits"], n) != set(token["experts"]) for token, n in zip(tokens, size, strict=True)]
        ),
        "market/market_flip_rate": fmean(
            [
                top_k(token["gate_logits"], n)
                != top_k([z + b for z, b in zip(token["gate_logits"], token["selection_bias"], strict=True)], n)
                for token, n in zip(tokens, size, strict=True)
            ]
        ),
        "market/bias_std": fmean([deviation(token["selection_bias"]) for token in tokens]),
        "market/bias_spread": fmean([max(token["selection_bias"]) - min(token["selection_bias"]) for token in tokens]),
    }
    if k > 1:
        expected["routing/weight_entropy_normalised"] = expected["routing/weight_entropy"] / math.log(k)
    if n_expert > k:
        ordered = [sorted(token["gate_logits"], reverse=True) for token in tokens]
        expected["routing/margin_k"] = fmean([(z[k - 1] - z[k]) / deviation(z) for z in ordered])
        expected["market/price_mean"] = fmean([token["price"] for token in tokens])
        expected["market/surplus_mean"] = fmean(
            [token["adjusted_logits"][e] - token["price"] for token in tokens for e in token["experts"]]
        )
    return expected


def partly(routing: RoutingDecision, seed: int) -> RoutingDecision:
    """The same with some winners that do not serve, and at some tokens none."""
    active = torch.rand(routing.experts.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    return replace(routing, active=active, weights=routing.weights * active)


@pytest.mark.parametrize("all_serve", [True, False])
@pytest.mark.parametrize(("k", "n_expert"), SIZES)
def test_every_layer_metric_agrees_with_its_literal_formula(k: int, n_expert: int, all_serve: bool) -> None:
    n_rwkv = n_expert - n_expert // 2
    windows = [(random_routing(k, n_expert, seed), random_mask(seed)) for seed in (1, 2)]
    if not all_serve:
        windows = [(partly(routing, seed), mask) for seed, (routing, mask) in enumerate(windows)]
    statistics = RoutingStatistics(n_rwkv, [10.0] * n_expert)
    for routing, mask in windows:
        statistics.add(routing, mask)
    series, metrics = statistics.series(), statistics.metrics()
    literal = [literal_layer(windows, layer, n_rwkv) for layer in range(2)]
    for name, definition in ((name, BY_RECORDED_NAME[name]) for name in literal[0]):
        values = [layer[name] for layer in literal]
        assert metrics[name] == pytest.approx(fmean(values), abs=1e-6), name
        assert series[f"{name}/by_layer"] == pytest.approx(values, abs=1e-6), name
        if "worst" in definition.forms:
            worst = min(values) if definition.worst == "min" else max(values)
            assert metrics[f"{name}/worst"] == pytest.approx(worst, abs=1e-6), name


def test_nothing_is_left_without_a_literal_formula_or_a_definition() -> None:
    routing, mask = random_routing(2, 4), random_mask(0)
    statistics = RoutingStatistics(3, [1.0] * 4)
    statistics.add(routing, mask)
    recorded = {**statistics.metrics(), **statistics.series()}
    assert undefined_names(recorded) == []
    literal = set(literal_layer([(routing, mask)], 0, 3))
    elsewhere = {
        *("routing/tokens", "routing/maxvio_noise_floor", "routing/flops_per_token", "routing/load_imbalance"),
        *("routing/expert_flops_per_token", "routing/load", "routing/weight_share", "routing/gate_probability"),
    }
    assert {BY_RECORDED_NAME[name].name for name in recorded} == literal | elsewhere
    of_room = {row.name for row in BY_RECORDED_NAME.values() if row.name.startswith("routing/")}
    assert of_room <= literal | elsewhere | OF_CAPACITY | {"routing/prior_override_rate"}


def test_the_override_rate_counts_first_winners_that_are_not_the_priors() -> None:
    routing, mask = random_routing(2, 4), random_mask(0)
    base = torch.zeros(routing.experts.shape[:-1], dtype=torch.int64)
    statistics = RoutingStatistics(3, [1.0] * 4)
    statistics.add(replace(routing, base=base), mask)
    rates = statistics.series()["routing/prior_override_rate/by_layer"]
    for layer, rate in enumerate(rates):
        first = [routing.experts[layer, b, t, 0].item() for b, t in mask.nonzero().tolist()]
        assert rate == pytest.approx(fmean([float(expert != 0) for expert in first]))


@pytest.mark.parametrize("mode", ["observe", "drop"])
def test_capacity_metrics_agree_with_their_literal_formulas(mode: str) -> None:
    capacity = Capacity(CapacityConfig(mode=mode, factor=0.75), 2, 4)
    routing, mask = random_routing(2, 4), random_mask(0)
    layers = [RoutingDecision(**{name: getattr(routing, name)[layer] for name in FIELDS}) for layer in range(2)]
    limited, trace = [capacity.limit(layer) for layer in layers], RoutingTrace()
    trace.layers.extend(LayerRouting(layer, None) for layer in limited)
    statistics = RoutingStatistics(3, [1.0] * 4, capacity=capacity)
    statistics.add(trace.decision(), mask)
    series = statistics.series()
    assert undefined_names(series) == []
    for layer, decision in enumerate(limited):
        beyond = [decision.overflow[b, t].tolist() for b, t in mask.nonzero().tolist()]  # type: ignore[index]
        wanted, lost = 2 * len(beyond), sum(map(sum, beyond))
        assert series["routing/drop_rate/by_layer"][layer] == pytest.approx(lost / wanted)
        assert series["routing/token_drop_rate/by_layer"][layer] == pytest.approx(sum(map(all, beyond)) / len(beyond))
        assert series["routing/capacity_use/by_layer"][layer] == pytest.approx((wanted - lost) / (3 * 4 * 3))
        served = wanted - lost if mode == "drop" else wanted
        assert series["routing/winners_per_token/by_layer"][layer] == pytest.approx(served / len(beyond))
    assert sum(series["routing/drop_rate/by_layer"]) > 0


@pytest.mark.parametrize("k", [2, 4])
def test_nobody_serving_is_no_nan(k: int) -> None:
    routing = replace(random_routing(k, 4), price=torch.zeros(2, 3, 7))
    nobody = torch.zeros_like(routing.experts, dtype=torch.bool)
    statistics = RoutingStatistics(3, [1.0] * 4)
    statistics.add(replace(routing, active=nobody, weights=routing.weights * nobody), random_mask(0))
    assert all(math.isfinite(value) for value in statistics.metrics().values())
    assert statistics.metrics()["routing/winners_per_token"] == 0


def test_padding_changes_nothing_whatever_it_holds() -> None:
    routing, mask = random_routing(2, 4), random_mask(0)
    poisoned = replace(
        routing,
        **{
            name: torch.where(mask[None, ..., None], getattr(routing, name), math.nan)
            for name in ("gate_logits", "selection_bias", "adjusted_logits", "weights")
        },
        price=torch.where(mask[None], routing.price, math.inf),
        experts=torch.where(mask[None, ..., None], routing.experts, 0),
    )
    records = []
    for one in (routing, poisoned):
        statistics = RoutingStatistics(2, [1.0] * 4)
        statistics.add(one, mask)
        records.append({**statistics.metrics(), **statistics.series()})
    assert records[0] == records[1]


def test_splitting_the_window_changes_only_the_micro_batch_metric() -> None:
    routing, mask = random_routing(2, 4, batch=4), random_mask(0, batch=4)
    whole, split = RoutingStatistics(2, [1.0] * 4), RoutingStatistics(2, [1.0] * 4)
    whole.add(routing, mask)
    for half in (slice(0, 2), slice(2, 4)):
        part = {name: getattr(routing, name)[:, half] for name in FIELDS}
        split.add(RoutingDecision(**part), mask[half])
    expected = whole.metrics()
    for name, value in split.metrics().items():
        if name != "routing/maxvio_micro":
            assert value == pytest.approx(expected[name], abs=1e-6), name
    assert split.metrics()["routing/maxvio_micro"] > expected["routing/maxvio_micro"]


def test_flops_follow_who_served() -> None:
    """Of the two Transformer experts the last token elects both, and the bridge runs for it once."""
    experts = torch.tensor([[0, 1], [0, 3], [2, 3]]).view(1, 1, 3, 2)
    routing = replace(random_routing(2, 4, batch=1, length=3), experts=experts)
    one_layer = {name: getattr(routing, name)[:1] for name in FIELDS}
    statistics = RoutingStatistics(2, [1.0, 10.0, 10_100.0, 11_000.0], bridge_flops=10_000.0, other_flops=5.0)
    statistics.add(RoutingDecision(**one_layer), torch.ones(1, 3, dtype=torch.bool))
    expected = (2 * 1 + 10 + 100 + 2 * 1000 + 2 * 10_000) / 3
    assert statistics.metrics()["routing/expert_flops_per_token"] == pytest.approx(expected)
    assert statistics.metrics()["routing/flops_per_token"] == pytest.approx(5 + expected)
    assert statistics.series()["routing/load/by_expert"][0] == pytest.approx([2 / 6, 1 / 6, 1 / 6, 2 / 6])
    assert statistics.metrics()["routing/load_imbalance/worst"] == pytest.approx(2 / 1.5)


def test_held_out_record_is_defined_for_both_evaluations() -> None:
    statistics = RoutingStatistics(3, [1.0] * 4)
    statistics.add(random_routing(2, 4), random_mask(0))
    for room in ("valid", "final"):
        record = statistics.held_out(room)
        assert undefined_names(record) == []
        assert record[f"{room}/maxvio_global"] == statistics.metrics()["routing/maxvio_batch"]
        assert record[f"{room}/maxvio_noise_floor"] == maxvio_of_chance(int(random_mask(0).sum()), 4, 2)
        assert {f"{room}/trans_share", f"{room}/gate_mi", f"{room}/flops_per_token"} <= set(record)


def test_empty_and_reset_windows_give_no_metrics() -> None:
    statistics = RoutingStatistics(3, [1.0] * 4)
    assert statistics.metrics() == {}
    statistics.add(random_routing(2, 4), torch.zeros(3, 7, dtype=torch.bool))
    assert statistics.metrics() == {}
    statistics.add(random_routing(2, 4), random_mask(0))
    statistics.reset()
    assert statistics.series() == {}


def test_a_trace_is_stacked_without_its_gradient() -> None:
    routing = random_routing(2, 4)
    trace = RoutingTrace()
    for layer in range(2):
        parts = {name: getattr(routing, name)[layer] for name in FIELDS}
        parts["gate_logits"] = parts["gate_logits"].clone().requires_grad_()
        trace.layers.append(LayerRouting(RoutingDecision(**parts), None))
    stacked = trace.decision()
    assert not stacked.gate_logits.requires_grad
    assert torch.equal(stacked.experts, routing.experts)


def test_a_checkpoint_in_the_middle_of_a_window_loses_nothing(tmp_path: Path) -> None:
    windows = [(random_routing(2, 4, seed), random_mask(seed)) for seed in (1, 2, 3)]
    whole, before, after = (RoutingStatistics(3, [1.0] * 4) for _ in range(3))
    for routing, mask in windows:
        whole.add(routing, mask)
    before.add(*windows[0])
    save_file(before.state(), tmp_path / "state.safetensors")
    after.load_state(load_file(tmp_path / "state.safetensors"), torch.device("cpu"))
    for routing, mask in windows[1:]:
        after.add(routing, mask)
    assert after.metrics() == whole.metrics()
    assert after.series() == whole.series()


def test_state_of_an_empty_window(tmp_path: Path) -> None:
    empty = RoutingStatistics(3, [1.0] * 4)
    save_file(empty.state(), tmp_path / "state.safetensors")
    again = RoutingStatistics(3, [1.0] * 4)
    again.add(random_routing(2, 4), random_mask(0))
    again.load_state(load_file(tmp_path / "state.safetensors"), torch.device("cpu"))
    assert again.metrics() == {}
