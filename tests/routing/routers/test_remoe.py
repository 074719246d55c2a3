"""ReMoE against its formulas written out."""

from __future__ import annotations

import pytest
import torch

from camoe.config import ConfigError
from camoe.config.learned_router import ReMoEConfig
from camoe.kernels.ranks import ALONE
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.routers.remoe import ReMoE, ReMoEBalancer
from tests.routing.routed import GivenGate, decided, even_flops

L, E, K = 2, 5, 2
MASK = torch.ones(2, 6, dtype=torch.bool)


def _made() -> tuple[ReMoE, ReMoEBalancer]:
    config = ReMoEConfig(top_k=K)
    router = ReMoE(config, 4, E)
    router.gate = GivenGate()
    return router, ReMoEBalancer(config, L, E, ComputePrice(config, K, even_flops(L, E)))


def test_positive_logits_serve_with_their_value() -> None:
    router, balancer = _made()
    logits = torch.randn(L, 2, 6, E).round(decimals=1)
    logits[0, 0, 0] = torch.tensor([0.0, -1.0, 0.0, -2.0, -0.5])  # 0 does not serve
    routing = decided(router, balancer, logits)
    assert routing.active is not None
    assert not routing.active[0, 0, 0].any()
    weights = torch.zeros_like(logits).scatter(-1, routing.experts, routing.weights)
    assert torch.equal(weights, logits.clamp(min=0))
    serves = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, routing.experts, routing.active)
    assert torch.equal(serves, logits > 0)


def test_the_loss_is_the_published_one_and_reaches_the_gate() -> None:
    router, balancer = _made()
    mask = MASK.clone()
    mask[1, 3:] = False
    logits = torch.randn(L, 2, 6, E, dtype=torch.float64, requires_grad=True)
    (term,) = balancer.losses(decided(router, balancer, logits), mask)
    expected, tokens = 0.0, int(mask.sum())
    for layer in range(L):
        rows = logits[layer][mask].tolist()
        for e in range(E):
            crowding = E / (K * tokens) * sum(row[e] > 0 for row in rows)
            expected += crowding * sum(max(row[e], 0) for row in rows) / (L * tokens)
    assert float(term.mean.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(term.weight) == pytest.approx(1e-8)
    term.mean.backward()
    assert logits.grad is not None
    assert float(logits.grad[:, 0].abs().min()) == 0  # negative logits
    assert float(logits.grad.norm()) > 0


@pytest.mark.parametrize(("shift", "direction"), [(1.0, 1), (-1.0, -1), (None, 0)])
def test_the_weight_moves_by_the_side_of_the_sparsity(shift: float | None, direction: int) -> None:
    router, balancer = _made()
    exact = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0]).expand(L, 2, 6, E)  # k of E
    logits = exact if shift is None else torch.full((L, 2, 6, E), shift)
    for _ in range(3):
        balancer.end_step(balancer.window_sums([(decided(router, balancer, logits), MASK)], ALONE))
    assert float(balancer.coefficient) == pytest.approx(1e-8 * 1.2 ** (3 * direction))


def test_training_on_the_loss_alone_comes_to_the_sparsity() -> None:
    """Logits that only the L1 loss and a push against it move end with k active on average."""
    router, balancer = _made()
    balancer.coefficient.fill_(1e-2)
    logits = torch.randn(L, 2, 64, E, requires_grad=True)
    mask, push, counts = torch.ones(2, 64, dtype=torch.bool), torch.rand(L, 2, 64, E), []
    for _ in range(150):
        routing = decided(router, balancer, logits)
        (term,) = balancer.losses(routing, mask)
        total = (term.weight * term.mean - 1e-3 * (push * logits).mean()) * logits.numel()
        (gradient,) = torch.autograd.grad(total, logits)
        assert routing.active is not None
        counts.append(float(routing.active.float().sum(-1).mean()))
        with torch.no_grad():
            logits -= 3.0 * gradient
        balancer.end_step(balancer.window_sums([(routing, mask)], ALONE))
    assert sum(counts[-50:]) / 50 == pytest.approx(K, abs=0.6)
    assert counts[0] > 2.2


def test_a_gate_that_is_always_positive_is_refused() -> None:
    with pytest.raises(ConfigError, match="gate_activation"):
        ReMoEConfig(gate_activation="sigmoid")
