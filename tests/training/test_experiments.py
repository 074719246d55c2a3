"""Draws of held-out and audited sequences: exact shares, apart from each other, however the step is cut."""

import pytest
import torch

from camoe.economy.market import Market
from camoe.training.experiments import Experiments
from tests.small_run import small_run

STEPS = 400


def _market(**economy: object) -> Market:
    config = small_run("calibrated", economy=economy)
    return Market.build(config.economy, config.model.n_layer, config.experts.total, config.router.top_k)


@pytest.mark.parametrize(("share", "sequences"), [(0.125, 8), (0.3, 5), (0.02, 3), (1.0, 4)])
def test_shares_are_exact_on_average_and_sequences_are_one_or_the_other(share: float, sequences: int) -> None:
    kept_out = min(share, 1 - share)
    market = _market(credit={"share": share}, alpha={"holdout_share": kept_out})
    draws = [Experiments(0, market, 4).of_step(step, sequences) for step in range(STEPS)]
    audited = sum(len(draw.audited) for draw in draws) / (STEPS * sequences)
    held = sum(int(draw.held_out.sum()) for draw in draws) / (STEPS * sequences)
    assert audited == pytest.approx(share * (1 - kept_out), abs=0.03)
    assert held == pytest.approx(kept_out, abs=0.03)
    assert not any(draw.held_out[draw.audited].any() for draw in draws)
    layers = [draw.layer for draw in draws if len(draw.audited)]
    assert abs(sum(layers) - len(layers) / 2) <= 1, "both layers are audited equally often"


def test_every_expert_and_every_sequence_is_drawn_equally_often() -> None:
    experiments = Experiments(3, _market(), 4)
    draws = [experiments.of_step(step, 8) for step in range(8 * STEPS)]
    for values, among in ((torch.cat([d.experts for d in draws]), 4), (torch.cat([d.audited for d in draws]), 8)):
        frequency = torch.bincount(values, minlength=among) / len(values)
        torch.testing.assert_close(frequency, torch.full((among,), 1 / among), atol=0.04, rtol=0)


def test_a_step_draws_the_same_again_and_its_parts_hold_all_of_it() -> None:
    experiments = Experiments(1, _market(credit={"share": 1.0}, alpha={"holdout_share": 0.2}), 4)
    first, again = experiments.of_step(5, 8), experiments.of_step(5, 8)
    assert torch.equal(first.audited, again.audited)
    assert torch.equal(first.held_out, again.held_out)
    assert not torch.equal(first.experts, experiments.of_step(6, 8).experts)
    parts = [first.audit_within(slice(start, start + 3), torch.device("cpu")) for start in (0, 3, 6)]
    rows = torch.cat([part.rows + start for part, start in zip(parts, (0, 3, 6), strict=True) if part])
    assert torch.equal(rows, first.audited)
    assert torch.equal(torch.cat([part.experts for part in parts if part]), first.experts)


def test_an_economy_without_experiments_draws_none() -> None:
    config = small_run("v21")
    market = Market.build(config.economy, 2, 4, 2)
    draw = Experiments(0, market, 4).of_step(0, 8)
    assert not len(draw.audited)
    assert not draw.held_out.any()
    assert draw.audit_within(slice(0, 8), torch.device("cpu")) is None
