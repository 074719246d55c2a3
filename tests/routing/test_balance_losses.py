"""Auxiliary losses against their formulas written out token by token."""

import math
from dataclasses import replace

import pytest
import torch

from camoe.config.balance_loss import SCOPES, CostLossConfig, LossesConfig, SwitchLossConfig, ZLossConfig
from camoe.routing.balance_losses import assignments, balance_loss, load_share, z_loss
from camoe.routing.balance_terms import BalanceLosses
from camoe.routing.decision import RoutingDecision

L, B, T, E, K = 2, 3, 7, 5, 2


def _routed(*, some_inactive: bool = False) -> tuple[RoutingDecision, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    gate = torch.randn(L, B, T, E, generator=generator).requires_grad_()
    experts = torch.rand(L, B, T, E, generator=generator).argsort(-1)[..., :K]
    mask = torch.rand(B, T, generator=generator) > 0.3
    active = torch.rand(L, B, T, K, generator=generator) > 0.4 if some_inactive else None
    zeros = torch.zeros(L, B, T, E)
    return RoutingDecision(experts, torch.zeros(L, B, T, K), zeros[..., 0], gate, zeros, zeros, active), mask


def _literal(routing: RoutingDecision, mask: torch.Tensor, layer: int, scope: str, cost: list[float]) -> float:
    """mean over real tokens t of E sum_e c_e f_e p_te, with f counted over the tokens of t's scope."""
    real = [(b, t) for b in range(B) for t in range(T) if mask[b, t]]
    total = 0.0
    for b, t in real:
        inside = [place for place in real if scope != "sequence" or place[0] == b]
        served = [0.0] * E
        for place in inside:
            for k in range(K):
                if routing.active is None or routing.active[(layer, *place, k)]:
                    served[int(routing.experts[(layer, *place, k)])] += 1
        probability = torch.softmax(routing.gate_logits[layer, b, t], -1).tolist()
        total += E * sum(cost[e] * served[e] / sum(served) * probability[e] for e in range(E))
    return total / len(real)


@pytest.mark.parametrize("some_inactive", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
def test_switch_and_cost_equal_the_written_out_formula(scope: str, some_inactive: bool) -> None:
    routing, mask = _routed(some_inactive=some_inactive)
    cost = [0.2, 0.5, 1.0, 1.3, 2.0]
    config = LossesConfig(switch=SwitchLossConfig(scope=scope), cost=CostLossConfig(weight=0.3, scope=scope))
    terms = {term.name: term for term in BalanceLosses(config, torch.tensor(cost).expand(L, E)).terms(routing, mask)}
    assert {name: term.weight for name, term in terms.items()} == {"switch": 0.05, "cost": 0.3}
    for name, factor in (("switch", [1.0] * E), ("cost", cost)):
        expected = sum(_literal(routing, mask, layer, scope, factor) for layer in range(L)) / L
        assert float(terms[name].mean.detach()) == pytest.approx(expected, rel=1e-5)
        assert float(torch.autograd.grad(terms[name].mean, routing.gate_logits, retain_graph=True)[0].norm()) > 0


def test_load_of_a_window_takes_the_place_of_the_batch_s_own() -> None:
    routing, mask = _routed()
    window = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]] * L)
    config = LossesConfig(switch=SwitchLossConfig(scope="global_batch"))
    (term,) = BalanceLosses(config, torch.ones(L, E)).terms(routing, mask, window)
    probability = torch.softmax(routing.gate_logits, -1)[:, mask].mean(1)
    torch.testing.assert_close(term.mean, (E * (window / 10) * probability).sum(-1).mean())


@pytest.mark.parametrize("kind", ["logsumexp", "mean_square"])
def test_z_loss_equals_the_written_out_formula(kind: str) -> None:
    routing, mask = _routed()
    sizes = []
    for z in routing.gate_logits[0][mask].tolist():
        squared = sum(value**2 for value in z) / E
        sizes.append(squared if kind == "mean_square" else math.log(sum(math.exp(value) for value in z)) ** 2)
    expected = sum(sizes) / len(sizes)
    assert float(z_loss(routing.gate_logits[0].detach(), mask, kind)) == pytest.approx(expected, rel=1e-5)
    config = LossesConfig(switch=SwitchLossConfig(weight=0.0), z=ZLossConfig(weight=0.1, kind=kind))
    (term,) = BalanceLosses(config, torch.ones(L, E)).terms(routing, mask)
    torch.testing.assert_close(term.mean, z_loss(routing.gate_logits, mask, kind).mean())


def test_balance_loss_is_one_at_perfect_balance_and_pushes_the_popular_expert_down() -> None:
    mask = torch.ones(1, 4, dtype=torch.bool)
    even = load_share(assignments(torch.tensor([[[0, 1], [2, 3], [1, 0], [3, 2]]]), 4, mask))
    assert float(balance_loss(torch.zeros(1, 4, 4), even, mask)) == 1.0
    logits = torch.zeros(1, 4, 4, requires_grad=True)
    crowded = load_share(assignments(torch.tensor([[[0, 1], [0, 2], [0, 3], [0, 1]]]), 4, mask))
    balance_loss(logits, crowded, mask).backward()
    assert logits.grad is not None
    assert (logits.grad[..., 0] > 0).all()


def test_padding_is_not_counted() -> None:
    logits, experts = torch.randn(1, 6, 3), torch.tensor([[[0], [1], [2], [0], [0], [0]]])
    mask = torch.tensor([[True, True, True, False, False, False]])
    share = load_share(assignments(experts, 3, mask))
    torch.testing.assert_close(share, torch.full((1, 3), 1 / 3))
    torch.testing.assert_close(
        balance_loss(logits, share, mask), balance_loss(logits[:, :3], share, mask[:, :3]), rtol=1e-6, atol=0
    )


def test_nothing_served_is_no_division_by_zero() -> None:
    routing, mask = _routed()
    nobody = RoutingDecision(**{**vars(routing), "active": torch.zeros(L, B, T, K, dtype=torch.bool)})
    for scope in SCOPES:
        (term,) = BalanceLosses(LossesConfig(switch=SwitchLossConfig(scope=scope)), torch.ones(L, E)).terms(
            nobody, mask
        )
        assert float(term.mean.detach()) == 0.0


def test_load_is_counted_before_a_capacity_cuts_it() -> None:
    routing, mask = _routed()
    beyond = torch.rand(L, B, T, K, generator=torch.Generator().manual_seed(3)) > 0.5
    dropped = replace(routing, active=~beyond, overflow=beyond)
    rerouted = replace(routing, experts=(routing.experts + 1) % E, first_choices=routing.experts, active=~beyond)
    for scope in SCOPES:
        losses = BalanceLosses(LossesConfig(switch=SwitchLossConfig(scope=scope)), torch.ones(L, E))
        expected = losses.terms(routing, mask)[0].mean
        assert torch.equal(losses.terms(dropped, mask)[0].mean, expected)
        assert torch.equal(losses.terms(rerouted, mask)[0].mean, expected)
