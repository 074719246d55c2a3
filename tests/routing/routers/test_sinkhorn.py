"""The Sinkhorn router against its scaling written out, in training and in evaluation."""

from __future__ import annotations

import math

import pytest
import torch

from camoe.config.learned_router import SinkhornConfig
from camoe.routing.election_terms import LayerTerms
from camoe.routing.routers.sinkhorn import Sinkhorn, column_potential
from tests.routing.routed import GivenGate
from tests.routing.routing_context import context

E, T = 4, 12
TRAINING = LayerTerms(training=True)


def _router(top_k: int) -> Sinkhorn:
    router = Sinkhorn(SinkhornConfig(top_k=top_k), 8, E)
    router.gate = GivenGate()
    return router


def _literal_scaling(logits: list[list[float]]) -> list[list[float]]:
    matrix = [[math.exp(z) for z in row] for row in logits]
    for _ in range(400):
        matrix = [[cell / sum(row) / len(matrix) for cell in row] for row in matrix]
        columns = [sum(row[e] for row in matrix) for e in range(E)]
        matrix = [[row[e] / columns[e] / E for e in range(E)] for row in matrix]
    return matrix


@pytest.mark.parametrize("top_k", [1, 2, E])
def test_training_elects_by_the_scaled_matrix_and_evaluation_by_the_logits(top_k: int) -> None:
    router, generator = _router(top_k), torch.Generator().manual_seed(0)
    logits = torch.randn(2, T, E, generator=generator, dtype=torch.float64) + torch.linspace(0, 1.5, E)
    trained, evaluated = router(logits, context(logits, terms=TRAINING), None), router(logits, context(logits), None)
    for b in range(2):
        for t, row in enumerate(_literal_scaling(logits[b].tolist())):
            assert trained.experts[b, t].tolist() == sorted(range(E), key=lambda e: -row[e])[:top_k]
    assert torch.equal(evaluated.experts, logits.topk(top_k).indices)
    scores = torch.sigmoid(logits) if top_k == 1 else torch.softmax(logits, -1)
    for decision in (trained, evaluated):
        torch.testing.assert_close(decision.weights, scores.gather(-1, decision.experts))
    assert (top_k == E) == torch.equal(trained.experts.sort(-1).values, evaluated.experts.sort(-1).values)


def test_sums_come_to_their_marginals() -> None:
    logits = 2 * torch.randn(3, 64, E, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scaled = torch.softmax(logits + column_potential(logits, 50), -1) / 64
    torch.testing.assert_close(scaled.sum(1), torch.full((3, E), 1 / E, dtype=torch.float64), rtol=0, atol=1e-4)


def test_equal_logits_go_to_the_lower_index_and_nothing_is_nan() -> None:
    logits = torch.zeros(1, T, E)
    decision = _router(2)(logits, context(logits, terms=TRAINING), None)
    assert torch.equal(decision.experts, torch.tensor([0, 1]).expand(1, T, 2))
    assert bool(decision.selection_bias.isfinite().all())


def test_sequences_do_not_depend_on_each_other_and_gradients_reach_the_gate() -> None:
    torch.manual_seed(0)
    router = Sinkhorn(SinkhornConfig(top_k=1), 8, E)
    h = torch.randn(2, T, 8)
    both, first = router(h, context(h, terms=TRAINING), None), router(h[:1], context(h[:1], terms=TRAINING), None)
    assert torch.equal(both.experts[:1], first.experts)
    (both.weights * torch.randn_like(both.weights)).sum().backward()
    assert float(router.gate.weight_in.grad.norm()) > 0  # type: ignore[union-attr, operator]
