"""Every formula against loops over tokens, and at the ends of its range."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from analysis import routing_dynamics as rd

S, L, N, E = 5, 2, 37, 6
STEPS = np.array([50, 100, 150, 200, 230])


def _winners(k: int, seed: int = 0, tokens: int = N) -> np.ndarray:
    """[S,L,tokens,k], more settled from one evaluation to the next."""
    random = np.random.default_rng(seed)
    settled = random.random((1, L, tokens, E))
    drawn = settled + random.random((S, L, tokens, E)) * np.linspace(1.5, 0, S)[:, None, None, None]
    return np.argsort(-drawn, axis=-1)[..., :k].astype(np.int8)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_saturation_and_churn_are_those_of_sets_of_winners(k: int) -> None:
    winners = _winners(k)
    saturation, churn = rd.router_saturation(winners), rd.routing_churn(winners)
    assert saturation.shape == (S, L)
    assert churn.shape == (S - 1, L)
    for s, layer in itertools.product(range(S), range(L)):
        common = [len({*winners[s, layer, t]} & {*winners[-1, layer, t]}) / k for t in range(N)]
        assert saturation[s, layer] == pytest.approx(np.mean(common))
        if s:
            kept = [len({*winners[s, layer, t]} & {*winners[s - 1, layer, t]}) / k for t in range(N)]
            assert churn[s - 1, layer] == pytest.approx(1 - np.mean(kept))
    assert (saturation[-1] == 1).all()
    assert (rd.router_saturation(winners[..., :1])[0] < 1).all()


def test_the_order_of_winners_is_no_change_of_the_set() -> None:
    winners = _winners(3)
    turned = winners[..., ::-1]
    np.testing.assert_array_equal(rd.overlap(winners, turned), 1.0)
    assert (rd.overlap(winners[..., :1], turned[..., :1]) < 1).any()


@pytest.mark.parametrize(("k", "n_expert"), [(1, 4), (2, 6), (3, 5)])
def test_chance_is_what_random_elections_give(k: int, n_expert: int) -> None:
    random = np.random.default_rng(2)
    winners = random.random((2, 1, 40_000, n_expert)).argsort(-1)[..., :k]
    assert rd.router_saturation(winners)[0, 0] == pytest.approx(rd.overlap_of_chance(k, n_expert), abs=0.01)
    found = rd.coactivation(winners[0], n_expert)[0]
    off_diagonal = found[~np.eye(n_expert, dtype=bool)]
    np.testing.assert_allclose(off_diagonal, rd.coactivation_of_chance(k, n_expert), atol=0.02)
    ids = random.integers(0, 40, 40_000)
    assert rd.vocab_spec(winners[0], ids, n_expert)[0] == pytest.approx(k / n_expert, abs=0.03)


@pytest.mark.parametrize("k", [1, 2])
def test_the_last_fluctuation_is_found_by_walking_back(k: int) -> None:
    winners = _winners(k)
    last = rd.last_fluctuation(winners, STEPS)
    for layer, token in itertools.product(range(L), range(N)):
        final, expected = {*winners[-1, layer, token]}, 0.0
        for s in reversed(range(S)):
            if {*winners[s, layer, token]} != final:
                expected = STEPS[s] / STEPS[-1]
                break
        assert last[layer, token] == expected
    at = np.array([0.0, 0.3, 0.5, 1.0])
    curve = rd.still_fluctuating(last, at)
    for layer, (place, share) in itertools.product(range(L), enumerate(at)):
        assert curve[layer, place] == pytest.approx(np.mean([value > share for value in last[layer]]))
    assert (curve[:, -1] == 0).all()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_coactivation_counts_all_pairs_not_only_neighbours(k: int) -> None:
    winners = _winners(k)[0]
    winners[0][winners[0] == 5] = 0  # expert 5 never wins in the first layer; who wins twice counts once
    found = rd.coactivation(winners, E)
    for layer, a, b in itertools.product(range(L), range(E), range(E)):
        with_a = [token for token in range(N) if a in winners[layer, token]]
        if not with_a:
            assert np.isnan(found[layer, a, b])
        else:
            together = [token for token in with_a if b in winners[layer, token]]
            assert found[layer, a, b] == pytest.approx(len(together) / len(with_a))
    assert np.isnan(found[0, 5]).all()


@pytest.mark.parametrize("min_count", [1, 5])
@pytest.mark.parametrize("k", [1, 3])
def test_vocabulary_specialisation_is_the_mean_over_ids(k: int, min_count: int) -> None:
    tokens = 80
    winners = _winners(k, tokens=tokens)[0]
    ids = np.random.default_rng(5).integers(0, 12, tokens) ** 2
    found = rd.vocab_spec(winners, ids, E, min_count)
    for layer in range(L):
        shares = []
        for kind, count in Counter(ids.tolist()).items():
            served = Counter(int(e) for t in range(tokens) if ids[t] == kind for e in winners[layer, t])
            if count >= min_count:
                shares.append(max(served.values()) / count)
        assert found[layer] == pytest.approx(np.mean(shares))


def test_rare_ids_flatter_and_chance_says_how_much() -> None:
    winners, ids = _winners(2)[0], np.arange(N)
    np.testing.assert_array_equal(rd.vocab_spec(winners, ids, E, 1), 1.0)
    assert np.isnan(rd.vocab_spec(winners, ids, E, 5)).all()
    by_id = (np.arange(60) % 3)[None, :, None]  # expert 0, 1 or 2, wholly decided by the id
    assert rd.vocab_spec(by_id, np.arange(60) % 3, 3) == pytest.approx([1.0])
    chance = rd.vocab_spec_of_chance(by_id, np.arange(60) % 3, 3)
    assert 1 / 3 < chance[0] < 0.6
    assert rd.vocab_spec_of_chance(winners, ids, E, 1) == pytest.approx(1.0)


def test_transformer_use_is_that_of_each_tenth_of_the_tokens() -> None:
    tokens = 43
    winners = _winners(2, tokens=tokens)[0]
    occurrences = np.random.default_rng(7).permutation(tokens) * 10
    use, median = rd.transformer_use_by_frequency(winners, occurrences, 4)
    ranked = sorted(range(tokens), key=lambda token: occurrences[token])
    sizes = [5] * 3 + [4] * 7
    for group, (start, size) in enumerate(zip(itertools.accumulate([0, *sizes]), sizes)):  # noqa: B905
        members = ranked[start : start + size]
        for layer in range(L):
            flags = [expert >= 4 for token in members for expert in winners[layer, token]]
            assert use[group, layer] == pytest.approx(np.mean(flags))
        assert median[group] == np.median([occurrences[token] for token in members])
