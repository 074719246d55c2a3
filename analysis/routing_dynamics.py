"""Formulas over the winners of a fixed set of tokens: how soon routers settle, and what experts specialise in.

Winners are integers [...,N,K] of N tokens and K winners each in falling order of their bids, so that [..., :1] asks of
the first winner alone; -1 stands where a token has fewer. S evaluations come in the order of training, L are layers, E
experts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


def overlap(one: Integers, other: Integers) -> Floats:
    """|W and W'| over the larger of |W| and |W'|, of every token, [...,N], whatever the order of its winners."""
    shared = ((one[..., :, None] == other[..., None, :]) & (one >= 0)[..., None]).any(-1).sum(-1)
    larger = np.maximum((one >= 0).sum(-1), (other >= 0).sum(-1))
    return np.divide(shared, larger, out=np.ones(shared.shape), where=larger > 0)


def winners_per_token(winners: Integers) -> float:
    """k, the mean number of winners."""
    return float((winners >= 0).sum(-1).mean())


def router_saturation(winners: Integers) -> Floats:
    """Overlap of every evaluation's winners [S,L,N,K] with the last one's, mean over tokens: [S,L], at the end 1.

    Source: OLMoE (Muennighoff et al. 2024), router saturation. Draw `overlap_of_chance` beside it.
    """
    return overlap(winners, winners[-1:]).mean(-1)


def overlap_of_chance(k: float, n_expert: int) -> float:
    """k/E, the mean overlap of two random sets of winners."""
    return k / n_expert


def routing_churn(winners: Integers) -> Floats:
    """1 - overlap of each evaluation with the one before, [S,L,N,K] -> [S-1,L]; compare equal distances only."""
    return 1 - overlap(winners[1:], winners[:-1]).mean(-1)


def last_fluctuation(winners: Integers, steps: Integers) -> Floats:
    """Share of the training [L,N] at which a token's set of winners last was not yet its final one; 0 for never.

    winners [S,L,N,K] at steps [S]. Source: StableMoE (Dai et al. 2022), there of the one winner.
    """
    differs = overlap(winners, winners[-1:]) < 1
    return np.where(differs, (steps / steps[-1])[:, None, None], 0.0).max(0)


def still_fluctuating(last: Floats, at: Floats) -> Floats:
    """Share of tokens whose `last_fluctuation` [L,N] lies beyond each of the shares `at` [P] of the training: [L,P]."""
    return np.asarray((last[:, :, None] > at).mean(1))


def coactivation(winners: Integers, n_expert: int) -> Floats:
    """P(b wins | a wins) = N_ab / N_a of every layer, [L,N,K] -> [L,E,E], from all pairs of a token's winners.

    Rows are a, the diagonal is 1, a row is NaN where a never won. Source: OLMoE, section 5.2, whose own script counts
    pairs of neighbouring rank only.
    """
    won = _won(winners, n_expert)
    together = won.transpose(0, 2, 1) @ won
    alone = won.sum(1)[:, :, None]
    return np.divide(together, alone, out=np.full_like(together, np.nan), where=alone > 0)


def coactivation_of_chance(k: float, n_expert: int) -> float:
    """(k-1)/(E-1) off the diagonal: the other winners of a token are drawn from the other experts."""
    return (k - 1) / (n_expert - 1) if n_expert > 1 else 0.0


def vocab_spec(winners: Integers, ids: Integers, n_expert: int, min_count: int = 5) -> Floats:
    """Share of an id's occurrences that its most frequent expert serves, mean over ids: [L,N,K], ids [N] -> [L].

    `ids` are those of the input or of the next token: two variants. An id counts once, however frequent; one that
    occurs once scores 1, hence `min_count`. NaN where no id occurs so often. Source: OLMoE, vocabulary specialisation.
    """
    order = np.argsort(ids, kind="stable")
    _, first, count = np.unique(ids[order], return_index=True, return_counts=True)
    kept = count >= min_count
    if not kept.any():
        return np.full(len(winners), np.nan)
    served = np.add.reduceat(_won(winners, n_expert)[:, order], first, axis=1)  # [L,ids,E]
    return np.asarray((served.max(-1) / count)[:, kept].mean(-1))


def vocab_spec_of_chance(
    winners: Integers, ids: Integers, n_expert: int, min_count: int = 5, *, draws: int = 20, seed: int = 0
) -> Floats:
    """`vocab_spec` [L] of ids dealt out at random among the same elections, mean over draws: what loads alone explain.

    It exceeds k/E because a maximum over experts of few occurrences does.
    """
    random = np.random.default_rng(seed)
    return np.mean([vocab_spec(winners, random.permutation(ids), n_expert, min_count) for _ in range(draws)], axis=0)


def transformer_use_by_frequency(
    winners: Integers, occurrences: Integers, n_cheap: int, groups: int = 10
) -> tuple[Floats, Floats]:
    """Share of assignments that experts from n_cheap on get, [G,L], in groups of equally many tokens, rarest first.

    winners [L,N,K]; occurrences [N] of each token's id in the text at large. Also the median occurrence [G] of a group.
    Source: ReMoE (Wang et al. 2024), figure 7: rare tokens get more.
    """
    parts = np.array_split(np.argsort(occurrences, kind="stable"), groups)
    served = np.maximum((winners >= 0).sum(-1), 1e-9)
    use = [(winners[:, part] >= n_cheap).sum((1, 2)) / served[:, part].sum(1) for part in parts]
    return np.array(use), np.array([np.median(occurrences[part]) for part in parts])


def _won(winners: Integers, n_expert: int) -> Floats:
    """[L,N,K] -> [L,N,E], 1 where the expert is among the winners."""
    return (winners[..., None] == np.arange(n_expert)).any(-2).astype(np.float64)
