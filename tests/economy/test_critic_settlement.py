"""Positions settled one by one in a literal loop, against the vectorised sums."""

from __future__ import annotations

import itertools

import pytest
import torch
from economy_windows import Shape, pieces, random_record

from camoe.economy.critic_settlement import SettlementTerms, learning_bonus, measure_positions
from camoe.economy.settlement_window import MicroBatchRecord
from camoe.economy.window_sums import measure_window

BASELINE = torch.tensor([3.0, 2.5, 3.5])


def terms(dividend_scale: float = 0.4) -> SettlementTerms:
    return SettlementTerms(
        reward=2.0,
        penalty=0.4,
        commission=0.8,
        bonus=torch.tensor(1.1),
        dividend_scale=dividend_scale,
        dividend_std_factor=0.5,
        bid_scale=0.05,
    )


def settle_literally(record: MicroBatchRecord, layer: int, terms: SettlementTerms) -> tuple[float, float, int, int]:
    """Revenue, stakes, right positions and positions of one layer, token by token and expert by expert."""
    tokens = [(b, t) for b, t in itertools.product(*map(range, record.mask.shape)) if record.mask[b, t]]
    performance = {(b, t): float(BASELINE[layer] - record.token_loss[b, t]) for b, t in tokens}
    mean = sum(performance.values()) / len(tokens)
    deviation = (sum((p - mean) ** 2 for p in performance.values()) / len(tokens)) ** 0.5
    revenue, stakes, correct, positions = 0.0, 0.0, 0, 0
    for token, perf in performance.items():
        dividend = 1 + terms.dividend_scale * max(0.0, perf - mean)
        sure = terms.dividend_scale > 0 and perf > mean + terms.dividend_std_factor * deviation
        for expert, affinity in enumerate(record.affinity[layer][token].tolist()):
            won = expert in record.winners[layer][token].tolist()
            rate, right = rate_of(affinity > 0, won, perf > 0, terms, dividend, 1.25 if sure else 1.0)
            revenue += 0.05 * abs(affinity) * rate
            stakes += 0.05 * abs(affinity)
            correct += right
            positions += 1
    return revenue, stakes, correct, positions


def rate_of(
    long: bool, won: bool, good: bool, terms: SettlementTerms, dividend: float, premium: float
) -> tuple[float, bool]:
    """Revenue per unit of stake, and whether the position was right."""
    if long and won:
        return (1.5 * terms.reward * dividend, True) if good else (0.0, False)
    if long:
        return 0.5 * terms.penalty * premium, False
    if not won:
        return 1.3 * terms.reward * dividend, True
    if good:
        return 0.2 * terms.penalty * premium, False
    return 1.2 * terms.reward * dividend, True


@pytest.mark.parametrize(("top_k", "n_expert"), [(1, 2), (2, 4), (3, 8)])
@pytest.mark.parametrize("dividend_scale", [0.0, 0.4])
def test_positions_match_the_literal_loop(top_k: int, n_expert: int, dividend_scale: float) -> None:
    record = random_record(7, Shape(batch=3, time=6, top_k=top_k, n_expert=n_expert))
    counted = record.without_padding()
    sums = measure_window([counted])
    settled = measure_positions([counted], BASELINE, sums.mean_loss, sums.loss_deviation, terms(dividend_scale))
    for layer in range(3):
        literal = settle_literally(record, layer, terms(dividend_scale))
        assert [column[layer].item() for column in settled] == pytest.approx(literal, rel=1e-6)
    torch.testing.assert_close(settled.profit(terms()), settled.revenue * 0.8 * 1.1 - settled.stakes)


def test_positions_of_micro_batches_add_up() -> None:
    record = random_record(7).without_padding()
    sums = measure_window([record])
    arguments = (BASELINE, sums.mean_loss, sums.loss_deviation, terms())
    torch.testing.assert_close(
        tuple(measure_positions(pieces(record), *arguments)),
        tuple(measure_positions([record], *arguments)),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize(("signal", "bonus"), [(-5.0, 0.98), (0.1, 1.02), (5.0, 1.06)])
def test_learning_bonus_is_clipped(signal: float, bonus: float) -> None:
    assert learning_bonus(torch.tensor(signal), scale=0.2, low=-0.1, high=0.3).item() == pytest.approx(bonus)


@pytest.mark.parametrize(("scale", "bonus"), [(100.0, 2.0), (-100.0, 0.1), (0.0, 1.0)])
def test_bonus_factor_is_clipped(scale: float, bonus: float) -> None:
    assert learning_bonus(torch.tensor(1.0), scale=scale, low=-0.1, high=0.3).item() == pytest.approx(bonus)
