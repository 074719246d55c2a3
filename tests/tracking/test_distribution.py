from __future__ import annotations

import numpy as np
import pytest

from camoe.tracking.distribution import entropy, gini, maxvio_of_chance, normalised_entropy, shares


def test_extremes() -> None:
    even, one = np.ones(8), np.eye(8)[0]
    assert gini(even) == pytest.approx(0)
    assert gini(one) == pytest.approx(7 / 8)
    assert normalised_entropy(shares(even)) == pytest.approx(1)
    assert entropy(one) == 0
    assert normalised_entropy(np.ones((3, 1))).tolist() == [1, 1, 1]


def test_shares_of_nothing_are_zero() -> None:
    assert shares(np.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_gini_is_the_mean_absolute_difference() -> None:
    amount = np.random.default_rng(0).random((5, 7))
    literal = [sum(abs(a - b) for a in row for b in row) / (2 * 7 * row.sum()) for row in amount]
    assert gini(amount) == pytest.approx(literal)


@pytest.mark.parametrize(("n_expert", "k", "tokens"), [(8, 2, 1000), (4, 1, 500), (4, 2, 512), (16, 4, 800)])
def test_maxvio_of_chance_matches_a_simulated_random_router(n_expert: int, k: int, tokens: int) -> None:
    random = np.random.default_rng(n_expert)
    simulated = []
    for _ in range(200):
        winners = np.argsort(random.random((tokens, n_expert)), axis=1)[:, :k]
        load = np.bincount(winners.ravel(), minlength=n_expert)
        simulated.append(load.max() / load.mean() - 1)
    assert maxvio_of_chance(tokens, n_expert, k) == pytest.approx(np.mean(simulated), rel=0.06)


def test_maxvio_of_chance_without_choice_is_zero() -> None:
    assert maxvio_of_chance(100, 2, 2) == 0
