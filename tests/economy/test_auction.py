"""Elections against literal loops, and what reaches the gradient of a bid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.economy.auction import elect
from camoe.economy.published_quote import PublishedQuote, bid_bias, market_bids


def quote(purse_ratio: float = 1.0, alpha: float = 0.5) -> PublishedQuote:
    return PublishedQuote(
        capital_share=torch.tensor([0.5, 0.3, 0.2]),
        alpha=torch.tensor(alpha),
        purse_ratio=torch.tensor(purse_ratio),
        bid_scale=0.05,
    )


def literal_election(bids: list[float], top_k: int) -> tuple[list[int], float]:
    """Winners one after the other: the highest bid still in, at equal bids the first."""
    standing = list(range(len(bids)))
    winners = []
    for _ in range(top_k):
        best = standing[0]
        for expert in standing:
            if bids[expert] > bids[best]:
                best = expert
        winners.append(best)
        standing.remove(best)
    return winners, max(bids[expert] for expert in standing)


@settings(deadline=None)
@given(data=st.data(), top_k=st.integers(1, 3))
def test_election_matches_literal_loop(data: st.DataObject, top_k: int) -> None:
    n_expert = data.draw(st.integers(top_k + 1, 8))
    # few distinct values, so that ties are common
    bid = st.integers(-2, 2).map(float)
    tokens = data.draw(st.lists(st.lists(bid, min_size=n_expert, max_size=n_expert), min_size=1, max_size=6))
    election = elect(torch.tensor(tokens), top_k)
    for token, bids in enumerate(tokens):
        winners, price = literal_election(bids, top_k)
        assert election.winners[token].tolist() == winners
        assert election.price[token].item() == price


def test_winners_never_pay_more_than_they_bid() -> None:
    bids = torch.randn(4, 9, 5, generator=torch.Generator().manual_seed(0))
    election = elect(bids, 2)
    assert (bids.gather(-1, election.winners) >= election.price.unsqueeze(-1)).all()


def test_all_experts_win_only_without_price() -> None:
    bids = torch.tensor([[1.0, 3.0, 2.0]])
    election = elect(bids, 3, priced=False)
    assert election.winners.tolist() == [[1, 2, 0]]
    assert election.price.tolist() == [0.0]
    with pytest.raises(ConfigError, match=r"router\.top_k: 3 winners among 3 experts; at most 2"):
        elect(bids, 3)
    with pytest.raises(ConfigError, match=r"at most 3$"):
        elect(bids, 4, priced=False)


@pytest.mark.parametrize(("purse_ratio", "clipped"), [(0.01, 0.1), (0.7, 0.7), (3.0, 2.0)])
def test_bid_bias_formula(purse_ratio: float, clipped: float) -> None:
    difficulty, affinity = torch.rand(2, 4), torch.randn(2, 4, 3)
    bias = bid_bias(quote(purse_ratio), difficulty, affinity)
    for b in range(2):
        for t in range(4):
            for e, share in enumerate((0.5, 0.3, 0.2)):
                expected = 0.5 * (share * (1 + difficulty[b, t]) + 0.05 * affinity[b, t, e] * clipped).item()
                assert bias[b, t, e].item() == pytest.approx(expected, abs=1e-7)


def test_bias_carries_no_gradient_and_vanishes_with_alpha() -> None:
    difficulty, affinity = torch.rand(2, 4, requires_grad=True), torch.randn(2, 4, 3, requires_grad=True)
    assert not bid_bias(quote(), difficulty, affinity).requires_grad
    assert bid_bias(quote(alpha=0.0), difficulty, affinity).count_nonzero() == 0


def test_market_bids_train_the_confidence_alone() -> None:
    confidence = torch.rand(2, 4, 3, requires_grad=True)
    difficulty, affinity = torch.rand(2, 4, requires_grad=True), torch.randn(2, 4, 3, requires_grad=True)
    bids = market_bids(quote(), confidence, difficulty, affinity)
    wealth = torch.tensor([0.5, 0.3, 0.2]) * (1 + difficulty.unsqueeze(-1))
    torch.testing.assert_close(bids, confidence * wealth + 0.05 * affinity)
    bids.sum().backward()
    torch.testing.assert_close(confidence.grad, wealth.detach())
    assert difficulty.grad is None
    assert affinity.grad is None
