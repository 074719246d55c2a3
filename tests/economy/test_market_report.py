"""State metrics by hand."""

from __future__ import annotations

import pytest
import torch

from camoe.economy.market_report import fraction_at_floor, gini


def test_gini_of_equals_and_of_a_monopolist() -> None:
    capital = torch.tensor([[5.0, 5.0, 5.0, 5.0], [8.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
    assert gini(capital).tolist() == pytest.approx([0.0, 0.75, 0.25])


def test_fraction_at_floor() -> None:
    assert fraction_at_floor(torch.tensor([[20.0, 20.0, 21.0, 100.0]]), 20.0).tolist() == [0.5]
