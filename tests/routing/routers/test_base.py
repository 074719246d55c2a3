"""BASE's balanced assignment against an exact solver, and its evaluation against the nearest centroid."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from camoe.config import ConfigError
from camoe.config.learned_router import BaseConfig
from camoe.routing.balanced_assignment import _seated, balanced_assignment
from camoe.routing.election_terms import LayerTerms
from camoe.routing.routers.base import Base
from tests.routing.routing_context import context

TRAINING = LayerTerms(training=True)


def _best_sum(scores: Tensor) -> float:
    """Of one sequence, [T,E]: every expert has ceil(T/E) seats."""
    seats = math.ceil(scores.shape[0] / scores.shape[1])
    table = scores.repeat_interleave(seats, dim=1).numpy()
    return float(table[linear_sum_assignment(table, maximize=True)].sum())


@pytest.mark.parametrize(("time", "n_expert"), [(12, 4), (13, 4), (64, 8), (3, 5), (7, 1), (40, 2)])
@pytest.mark.parametrize("ties", [False, True])
def test_the_sum_is_the_best_there_is_and_loads_are_even(time: int, n_expert: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(time)
    scores = torch.randn(3, time, n_expert, generator=generator, dtype=torch.float64) + torch.linspace(0, 2, n_expert)
    scores = scores.round() if ties else scores
    experts = balanced_assignment(scores)
    for own, sequence in zip(experts, scores, strict=True):
        assert int(torch.bincount(own, minlength=n_expert).max()) <= math.ceil(time / n_expert)
        total, spread = float(sequence.gather(1, own[:, None]).sum()), float(sequence.max() - sequence.min())
        assert total <= _best_sum(sequence) + 1e-9
        assert total >= _best_sum(sequence) - time * 1e-3 * spread - 1e-9


def test_equal_scores_end_too() -> None:
    experts = balanced_assignment(torch.zeros(2, 10, 4))
    assert torch.bincount(experts[0], minlength=4).tolist() <= [3, 3, 3, 3]
    assert int(experts.min()) >= 0


def test_who_is_left_over_takes_a_free_seat() -> None:
    experts = torch.tensor([[0, -1, 0, -1, 2, -1], [-1, -1, -1, -1, -1, -1]])
    assert _seated(experts, 3, 2).tolist() == [[0, 1, 0, 1, 2, 2], [0, 0, 1, 1, 2, 2]]


def test_evaluation_takes_the_nearest_centroid_and_weights_are_sigmoids() -> None:
    torch.manual_seed(0)
    router, h = Base(BaseConfig(), 8, 4), torch.randn(2, 12, 8)
    logits = h @ router.centroids.weight.T
    trained, evaluated = router(h, context(h, terms=TRAINING), None), router(h, context(h), None)
    assert torch.equal(evaluated.experts, logits.argmax(-1, keepdim=True))
    assert torch.bincount(trained.experts[0].flatten()).tolist() == [3, 3, 3, 3]
    for decision in (trained, evaluated):
        torch.testing.assert_close(decision.weights, torch.sigmoid(logits).gather(-1, decision.experts))
    trained.weights.sum().backward()
    assert float(router.centroids.weight.grad.norm()) > 0  # type: ignore[union-attr]


def test_centroids_start_orthogonal_with_gain_a_tenth() -> None:
    weight = Base(BaseConfig(), 16, 4).centroids.weight
    torch.testing.assert_close(weight @ weight.T, 0.01 * torch.eye(4), rtol=0, atol=1e-6)


def test_more_than_one_winner_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"router\.top_k: 2 with router\.kind base"):
        BaseConfig(top_k=2)
