"""Alpha's rule, and windows in which the market has no opinion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from economy_windows import random_record

from camoe.config.economy import V21Config
from camoe.economy.alpha import adapted_alpha, agreement
from camoe.economy.window_sums import measure_window

CONFIG = V21Config(alpha_ema=0.9, alpha_step=0.2, alpha_min=0.01, alpha_max=0.3)


@pytest.mark.parametrize(
    ("alpha", "agreed", "target"), [(0.1, 0.75, 0.2), (0.1, 0.5, 0.1), (0.1, 0.0, 0.01), (0.2, 1.0, 0.3)]
)
def test_alpha_moves_towards_its_clipped_target(alpha: float, agreed: float, target: float) -> None:
    moved = adapted_alpha(torch.tensor([alpha]), torch.tensor([agreed]), CONFIG)
    assert moved.item() == pytest.approx(0.9 * alpha + 0.1 * target)


def test_agreement_counts_unmasked_tokens() -> None:
    record = random_record(0)
    same = record.gate_logits.argmax(-1) == record.selection_bias.argmax(-1)
    expected = same[:, record.mask].double().mean(-1)
    torch.testing.assert_close(agreement(measure_window([record.without_padding()])), expected)


def test_a_flat_bias_is_no_opinion() -> None:
    record = random_record(0)
    flat = replace(record, selection_bias=torch.full_like(record.selection_bias, 0.3))
    assert agreement(measure_window([flat])).tolist() == [0.5] * 3
