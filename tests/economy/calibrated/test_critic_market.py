"""(16) Critics that know nothing do not profit, those that know do; the ruined are rescued and learn from others."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from calibrated.worlds import Belief, World, run
from camoe.config.calibrated import CalibratedConfig, LogScoringCriticConfig
from camoe.economy.calibrated.critic_market import forecast, score, settle_purses
from camoe.economy.calibrated.state import CalibratedState

VALUES = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.1, 0.4, 0.2, 0.3, 0.0]], dtype=torch.float64)
WORLD = World(VALUES, torch.zeros_like(VALUES), time=32)


def constant(value: float) -> Belief:
    return lambda like: torch.full_like(like, value)


def random_belief() -> Belief:
    generator = torch.Generator().manual_seed(9)
    return lambda like: (torch.randn(*like.shape[:1], 1, 1, like.shape[-1], generator=generator) * 2).expand_as(like)


def informed() -> Belief:
    return lambda like: (VALUES[:, None, None].float() - VALUES.mean().float()).expand_as(like) * 6


CONTENT_FREE = {"short_all": constant(-3.0), "long_all": constant(3.0), "random": random_belief()}


@cache
def purses_of(belief: Belief) -> tuple[Tensor, Tensor]:
    """Purses [L] at the end, and the mean score over the second half, when wealth has found the values."""
    config = CalibratedConfig(critic=LogScoringCriticConfig(half_life=50e3, bankrupt_below=0.0, purse_max=1e9))
    config.credit.half_life, config.credit.prior_tokens = 100e3, 100.0
    config.capital.half_life = config.capital.tax_half_life = 20e3
    market, reports = run(WORLD, config, tokens=120 * 1024, per_update=1024, affinity=belief)
    scores = torch.stack([report.metrics["critic_score"] for report in reports[60:]])
    return market.state.purse, scores.mean(0)


@pytest.mark.parametrize("belief", CONTENT_FREE.values(), ids=CONTENT_FREE)
def test_critics_without_content_do_not_profit(belief: Belief) -> None:
    purse, mean_score = purses_of(belief)
    assert (mean_score < 0).all()
    assert (purse < 1).all()


def test_a_critic_that_knows_the_values_is_not_ruined() -> None:
    """Once wealth itself shows the values there is little left to tell."""
    purse, mean_score = purses_of(informed())
    assert (mean_score.abs() < 0.1).all(), mean_score
    assert (purse > 1).all(), purse


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.integers(2, 8), st.integers(0, 10**6), st.floats(0.1, 20))
def test_no_fixed_forecast_gains_when_the_market_is_right(n_expert: int, seed: int, width: float) -> None:
    """c = E[y]: E[clip(S, +-1)] <= 0 for every q, however extreme, losses clipped as they are."""
    generator = torch.Generator().manual_seed(seed)
    outcomes = torch.softmax(torch.randn(200, n_expert, generator=generator, dtype=torch.float64) * 2, dim=-1)
    share = outcomes.mean(0).expand_as(outcomes)
    log_q = torch.log_softmax(torch.randn(n_expert, generator=generator, dtype=torch.float64) * width, dim=-1)
    assert float(score(log_q.expand_as(outcomes), share, outcomes).clamp(-1, 1).mean()) <= 1e-12


def test_score_is_a_difference_of_divergences() -> None:
    outlook, share = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.2, 0.4, 0.4]])
    assert float(score(outlook.log(), share, outlook)) == pytest.approx(
        0.5 * torch.log(torch.tensor(2.5)).item()
        + 0.3 * torch.log(torch.tensor(0.75)).item()
        + 0.2 * torch.log(torch.tensor(0.5)).item()
    )
    assert score(share.log(), share, outlook).tolist() == [0.0]
    torch.testing.assert_close(forecast(torch.tensor([[2.0, 2.0]]), torch.tensor(4.0)).exp(), torch.full((1, 2), 0.5))


def test_bailout_debt_repayment_and_donors() -> None:
    config = LogScoringCriticConfig(half_life=1.0, repay_half_life=1.0, donor_topk=1, restructure_step=0.5)
    state = CalibratedState(CalibratedConfig(critic=config), 3, 4, 2, [1.0] * 4, 0.0)
    state.purse.copy_(torch.tensor([0.21, 1.0, 1.0]))
    state.debt.copy_(torch.tensor([0.0, 0.05, 5.0]))
    state.target.copy_(torch.tensor([0.0, 10.0]))
    state.tokens.fill_(10.0)
    state.residual.copy_(torch.tensor([9.0, 8.0, 2.0]))  # the third critic explains most
    critics: list[nn.Module] = [nn.Linear(1, 1, bias=False) for _ in range(3)]
    for layer, critic in enumerate(critics):
        nn.init.constant_(critic.weight, float(layer))  # type: ignore[arg-type]
    tokens = torch.tensor(1.0, dtype=torch.float64)  # one half-life: rate 1/2
    flows = settle_purses(config, state, torch.tensor([-5.0, 0.0, 0.0]).double(), tokens, critics)

    ruined = 0.21 * torch.tensor(-0.5).exp().item()
    assert flows.bailout.tolist() == pytest.approx([0.5, 0, 0])
    assert flows.repaid.tolist() == pytest.approx([0, 0.05, 0.4])
    assert state.purse.tolist() == pytest.approx([ruined + 0.5, 0.95, 0.6])
    assert state.debt.tolist() == pytest.approx([0.5, 0, 4.6])
    assert state.bailout_count.tolist() == [1, 0, 0]
    assert flows.residual.abs().max() < 1e-12
    assert [critic.weight.item() for critic in critics] == [1.0, 1.0, 2.0]  # type: ignore[operator, union-attr]
