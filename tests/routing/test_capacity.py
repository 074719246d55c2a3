"""Limited places against a loop that seats one token after another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from camoe.config import ConfigError
from camoe.config.capacity import CapacityConfig
from camoe.routing.capacity import Capacity, places
from camoe.routing.decision import RoutingDecision
from tests.small_run import small_run

B, T, E, K = 3, 11, 5, 2


@pytest.mark.parametrize(
    ("tokens", "expected"), [(1, 1), (4, 2), (8, 3), (16, 5), (32, 10), (128, 40), (8192, 2560), (2**40, 5 * 2**36)]
)
def test_golden_table(tokens: int, expected: int) -> None:
    assert places(tokens, 2, 8, 1.25) == expected


def test_the_factor_is_the_decimal_that_was_written() -> None:
    assert places(10, 1, 1, 1.1) == 11, "1.1 in binary is a little more"
    assert places(30, 1, 3, 0.7) == 7


def _decision(seed: int, crowded: float = 1.5) -> RoutingDecision:
    generator = torch.Generator().manual_seed(seed)
    gate = torch.randn(B, T, E, generator=generator) + crowded * torch.arange(E)
    experts = gate.argsort(-1, descending=True)[..., :K]
    zeros = torch.zeros(B, T, E)
    return RoutingDecision(experts, gate.gather(-1, experts).softmax(-1), zeros[..., 0], gate, zeros, gate)


def _groups(scope: str) -> list[list[tuple[int, int]]]:
    """Places of tokens in the order in which they are seated."""
    if scope == "sequence":
        return [[(b, t) for t in range(T)] for b in range(B)]
    return [[(b, t) for t in range(T) for b in range(B)]]


def _capacity(mode: str, scope: str, policy: str = "position", factor: float = 1.25) -> Capacity:
    return Capacity(CapacityConfig(mode=mode, scope=scope, policy=policy, factor=factor), K, E)


@pytest.mark.parametrize("policy", ["position", "probability"])
@pytest.mark.parametrize("scope", ["sequence", "batch"])
@pytest.mark.parametrize("factor", [0.5, 1.25, 2.0])
def test_drop_keeps_the_first_or_the_surest(scope: str, policy: str, factor: float) -> None:
    decision, capacity = _decision(0), _capacity("drop", scope, policy, factor)
    limited = capacity.limit(decision)
    probability = decision.gate_logits.softmax(-1)
    kept = set()
    for group in _groups(scope):
        limit = places(len(group), K, E, factor)
        for e in range(E):
            wanting = [place for place in group if e in decision.experts[place].tolist()]
            if policy == "probability":
                wanting.sort(key=lambda place: -float(probability[place][e]))
            kept |= {(*place, e) for place in wanting[:limit]}
    assert limited.active is not None
    for b in range(B):
        for t in range(T):
            for k, e in enumerate(decision.experts[b, t].tolist()):
                assert bool(limited.active[b, t, k]) == ((b, t, e) in kept)
                assert float(limited.weights[b, t, k]) == (float(decision.weights[b, t, k]) if (b, t, e) in kept else 0)
    assert torch.equal(limited.overflow, ~limited.active)


@pytest.mark.parametrize("scope", ["sequence", "batch"])
def test_observe_counts_the_same_and_leaves_all_serving(scope: str) -> None:
    decision = _decision(1)
    observed = _capacity("observe", scope).limit(decision)
    assert torch.equal(observed.overflow, _capacity("drop", scope).limit(decision).overflow)
    assert bool(observed.overflow.any())
    assert replace(observed, overflow=None) == decision


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scope", ["sequence", "batch"])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.25])
def test_reroute_seats_token_after_token(scope: str, factor: float, seed: int) -> None:
    decision, capacity = _decision(seed, crowded=0.8), _capacity("reroute", scope, factor=factor)
    bids = capacity.with_room(decision.gate_logits)
    experts = bids.argsort(dim=-1, descending=True, stable=True)[..., :K]
    limited = capacity.limit(replace(decision, experts=experts))
    assert limited.active is not None
    for group in _groups(scope):
        room = [places(len(group), K, E, factor)] * E
        for place in group:
            ranked = decision.gate_logits[place].argsort(descending=True).tolist()
            seated = [e for e in ranked if room[e]][:K]
            for e in seated:
                room[e] -= 1
            found = experts[place][limited.active[place]].tolist()
            assert found == seated, place


def test_room_for_all_changes_no_election() -> None:
    bids = _decision(0).gate_logits
    assert torch.equal(_capacity("reroute", "sequence", factor=float(E)).with_room(bids), bids)


@pytest.mark.parametrize("mode", ["drop", "reroute"])
@pytest.mark.parametrize("scope", ["sequence", "batch"])
def test_places_taken_in_order_know_nothing_of_what_follows(mode: str, scope: str) -> None:
    decision, capacity = _decision(2), _capacity(mode, scope)
    other = decision.gate_logits.clone()
    other[:, 7:] = torch.randn(other[:, 7:].shape, generator=torch.Generator().manual_seed(9)) * 3
    actives = []
    for gate in (decision.gate_logits, other):
        bids = capacity.with_room(gate) if mode == "reroute" else gate
        experts = bids.argsort(dim=-1, descending=True, stable=True)[..., :K]
        limited = capacity.limit(replace(decision, experts=experts, gate_logits=gate))
        actives.append((experts[:, :7], limited.active[:, :7]))  # type: ignore[index]
    assert torch.equal(actives[0][0], actives[1][0])
    assert torch.equal(actives[0][1], actives[1][1])


def test_inactive_winners_take_no_place() -> None:
    decision = replace(_decision(0), active=torch.zeros(B, T, K, dtype=torch.bool))
    assert not bool(_capacity("drop", "sequence").limit(decision).overflow.any())  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["drop", "reroute"])
def test_a_market_that_would_settle_the_dropped_is_refused(mode: str) -> None:
    with pytest.raises(ConfigError, match=r"router.capacity.mode: .* economy.kind v21"):
        small_run("v21", router={"capacity": {"mode": mode}})
    assert small_run("v21", router={"capacity": {"mode": "observe"}}).router.capacity.mode == "observe"


@pytest.mark.parametrize(("mode", "kind"), [("reroute", "token_hash"), ("observe", "soft_moe"), ("drop", "dense")])
def test_routers_that_nothing_can_be_done_for_are_refused(mode: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"router.capacity.mode: {mode} .* router.kind {kind}") as refusal:
        small_run("off", router={"kind": kind, "capacity": {"mode": mode}})
    assert "\n" not in str(refusal.value)


def test_rerouting_the_surest_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"router.capacity.policy: probability cannot reroute"):
        small_run("off", router={"capacity": {"mode": "reroute", "policy": "probability"}})
