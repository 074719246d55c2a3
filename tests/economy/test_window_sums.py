"""Sums of a window against literal loops, over any split into micro-batches and whatever padding holds."""

from __future__ import annotations

import itertools

import pytest
import torch
from economy_windows import Shape, pieces, poisoned_padding, random_record

from camoe.economy.settlement_window import MicroBatchRecord, SettlementWindow
from camoe.economy.window_sums import WindowSums, measure_window


def sums_of(*records: MicroBatchRecord, mask_padding: bool = True) -> WindowSums:
    return measure_window(SettlementWindow(list(records)).counted(mask_padding=mask_padding))


@pytest.mark.parametrize(("top_k", "n_expert"), [(1, 2), (2, 5), (3, 8)])
@pytest.mark.parametrize("mask_padding", [True, False])
def test_sums_match_the_literal_loop(top_k: int, n_expert: int, mask_padding: bool) -> None:
    shape = Shape(n_layer=2, batch=3, time=4, top_k=top_k, n_expert=n_expert)
    record = random_record(3, shape)
    served, charged, trust = torch.zeros(3, 2, n_expert, dtype=torch.float64)
    losses = []
    for b, t in itertools.product(range(3), range(4)):
        if mask_padding and not record.mask[b, t]:
            continue
        losses.append(record.token_loss[b, t].item())
        for layer in range(2):
            trust[layer] += record.affinity[layer, b, t].clamp(min=0)
            for expert in record.winners[layer, b, t].tolist():
                served[layer, expert] += 1
                charged[layer, expert] += losses[-1] + record.price[layer, b, t].item()

    sums = sums_of(record, mask_padding=mask_padding)
    torch.testing.assert_close((sums.served, sums.charged, sums.trust), (served, charged, trust))
    assert sums.tokens.item() == len(losses)
    values = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close((sums.mean_loss, sums.loss_deviation), (values.mean(), values.std(unbiased=False)))


def test_split_into_micro_batches_does_not_matter() -> None:
    whole = random_record(4)
    torch.testing.assert_close(tuple(sums_of(*pieces(whole))), tuple(sums_of(whole)), rtol=1e-12, atol=1e-12)


def test_masked_padding_may_hold_anything() -> None:
    record = random_record(5)
    poisoned = sums_of(poisoned_padding(record))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(poisoned, sums_of(record), strict=True))


def test_unmasked_padding_counts_as_loss_zero() -> None:
    record = random_record(5)
    published = sums_of(record, mask_padding=False)
    assert published.tokens.item() == record.mask.numel()
    assert published.targets.item() == record.mask.sum().item()
    assert published.mean_loss.item() < sums_of(record).mean_loss.item()


def test_critic_loss_is_weighted_by_targets() -> None:
    first, second = random_record(0), random_record(1)
    n = [record.mask.sum().item() for record in (first, second)]
    expected = (n[0] * first.critic_loss + n[1] * second.critic_loss) / sum(n)
    assert sums_of(first, second).mean_critic_loss.item() == pytest.approx(expected.item())


def test_deviation_survives_a_large_mean() -> None:
    record = random_record(0, padding=0.0)
    shifted = sums_of(MicroBatchRecord(**{**vars(record), "token_loss": record.token_loss.double() - 1e5}))
    torch.testing.assert_close(shifted.loss_deviation, sums_of(record).loss_deviation, rtol=1e-4, atol=0)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="no micro-batch"):
        measure_window([])
