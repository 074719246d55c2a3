"""The laws one by one, on numbers that can be checked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from camoe.config.calibrated import (
    AlphaConfig,
    BankConfig,
    CalibratedConfig,
    CapitalConfig,
    ComputeConfig,
    IdleTaxConfig,
    VenturesConfig,
    WealthTaxConfig,
)
from camoe.economy.calibrated import alpha, capital, central_bank, compute_price, congestion, merit, price, ventures
from camoe.economy.calibrated.bid import CalibratedQuote
from camoe.economy.calibrated.floor import water_filled
from camoe.economy.calibrated.idle_tax import idle_tax, is_idle
from camoe.economy.calibrated.rates import kept, quotient, rate
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.calibrated.wealth_tax import wealth_tax
from camoe.economy.critic import CriticOpinion


def money(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


N = torch.tensor(1000.0, dtype=torch.float64)


def test_rates() -> None:
    assert float(rate(N, 1000.0)) == pytest.approx(0.5)
    assert float(kept(N, 500.0)) == pytest.approx(0.25)
    assert quotient(money(1.0, 1.0), money(4.0, 0.0)).tolist() == [[0.25, 0.0]]
    assert float(rate(N * 0, 1.0)) == 0


def quote(wealth: Tensor, **changes: object) -> CalibratedQuote:
    fixed = {
        "subsidy": torch.zeros_like(wealth),
        "tolls": torch.zeros_like(wealth),
        "gate_deviation": torch.tensor(2.0),
        "difficulty_mean": torch.tensor(0.5),
        "difficulty_deviation": torch.tensor(2.0),
        "difficulty_weight": 0.25,
        "bias_max": 1.0,
        "space": "logits",
    }
    return CalibratedQuote(wealth=wealth, **(fixed | changes))  # type: ignore[arg-type]


def test_bid() -> None:
    """s_z clip(alpha m_t log(E c_e) + nu_e, +-B_max), m_t in 0..2."""
    wealth, logits = torch.tensor([0.4, -0.4, 0.0]), torch.zeros(1, 3, 3)
    opinion = CriticOpinion(torch.tensor([[0.5, 4.5, -100.0]]), logits)  # z-scores 0, 2 and far below
    bias = quote(wealth).bias(logits, opinion)
    torch.testing.assert_close(bias[0], torch.tensor([[0.8, -0.8, 0], [1.2, -1.2, 0], [0, 0, 0]]))
    nudged = quote(wealth, subsidy=torch.tensor([0.0, 0.3, 5.0])).bias(logits, None)
    torch.testing.assert_close(nudged[0, 0], torch.tensor([0.8, -0.2, 2.0]))
    assert quote(wealth, gate_deviation=torch.tensor(0.0)).noise_std(0.3) == pytest.approx(0.3)
    assert quote(wealth).noise_std(0.3) == pytest.approx(0.6)


def test_merit_is_zero_sum_and_shrunk_by_error() -> None:
    credit = torch.tensor([[[30.0, 0.0, -10.0]], [[100.0, 200.0, 100.0]]], dtype=torch.float64)
    sure = merit.profit(credit, torch.zeros(3, 1, 3, dtype=torch.float64), prior_tokens=1e-9)
    assert sure.value.tolist() == [[0.3, 0.0, -0.1]]
    mean = 20 / 400
    assert sure.rate.tolist()[0] == pytest.approx([0.3 - mean, -mean, -0.1 - mean])
    assert float((sure.rate * credit[1]).sum()) == pytest.approx(0, abs=1e-6)
    assert sure.reliability.item() == 1
    squares = torch.tensor([[[1e6] * 3], [[0.0] * 3], [[0.0] * 3]], dtype=torch.float64)
    unsure = merit.profit(credit, squares, prior_tokens=1e-9)
    assert unsure.error.tolist()[0] == pytest.approx([10.0, 5.0, 10.0])
    assert merit.merit(unsure).abs().max() == 0
    assert merit.merit(sure).abs().max() > 1


def test_standard_error_of_a_ratio() -> None:
    """sqrt(sum (D - V n)^2) / sum n, for audited sequences of different length."""
    effects, served = torch.tensor([3.0, 1.0, 8.0]).double(), torch.tensor([10.0, 20.0, 30.0]).double()
    sums = [effects * effects, effects * served, served * served]
    squares = torch.stack([term.sum() for term in sums])[:, None, None]
    credit = torch.stack([effects.sum(), served.sum()])[:, None, None]
    found = merit.profit(credit.expand(2, 1, 2), squares.expand(3, 1, 2), prior_tokens=1e-12)
    value = 12 / 60
    expected = math.sqrt(sum((d - value * n) ** 2 for d, n in ((3, 10), (1, 20), (8, 30)))) / 60
    assert found.error.tolist()[0] == pytest.approx([expected] * 2)
    shrunk = merit.profit(credit.expand(2, 1, 2), squares.expand(3, 1, 2), prior_tokens=60.0)
    assert shrunk.value_error.tolist()[0] == pytest.approx([expected] * 2)  # what is logged beside V_e
    assert shrunk.error.tolist()[0] == pytest.approx([expected / 2] * 2)  # of Pi_e, which n_0 halves


def test_log_tax_and_growth() -> None:
    wealth = money(1.0, 4.0)
    taxed = capital.log_taxed(wealth, N, half_life=1000.0)  # ratio 4 becomes its square root
    assert (taxed[0, 1] / taxed[0, 0]).item() == pytest.approx(2)
    grown = capital.grown(wealth, money(1.0, -1.0), money(2.0), N, half_life=1000.0)  # e^(2 x 1/2 x 2) to the poor
    assert (grown[0, 1] / grown[0, 0]).item() == pytest.approx(4 * math.exp(-2))
    assert taxed.sum().item() == pytest.approx(5)
    assert grown.sum().item() == pytest.approx(5)
    added = capital.added(wealth, money(0.5, -0.5), money(1.0), N, half_life=1000.0)
    assert added.tolist()[0] == pytest.approx([1 + 2.5 / 4, 4 - 2.5 / 4])
    ruin = capital.added(wealth, money(9.0, -9.0), money(1.0), N, half_life=1000.0)
    assert ruin.min() > 0
    assert ruin.sum().item() == pytest.approx(5)


def test_automatic_gain_settles_wealth_within_a_factor_e() -> None:
    config, score = CapitalConfig(half_life=3000.0, tax_half_life=1500.0), money(-0.5, -0.25, 0.0, 0.75)
    wealth, gain = money(1.0, 1.0, 1.0, 1.0), capital.gain(score, config)
    for _ in range(200):
        wealth = capital.log_taxed(wealth, N / 10, config.tax_half_life)
        wealth = capital.grown(wealth, score, gain, N / 10, config.half_life)
    spread = wealth.log() - wealth.log().mean()
    assert spread.abs().quantile(0.9).item() == pytest.approx(1, rel=0.1)
    assert capital.gain(score * 0, config).item() == 0
    assert capital.gain(score * 1e-6, config).item() == config.gain_max
    assert capital.gain(score, replace(config, gain=0.3)).item() == pytest.approx(0.3)


def test_wealth_and_idle_tax() -> None:
    wealth = money(6.0, 1.0, 1.0)
    tax = wealth_tax(wealth, torch.tensor([9.0]).double(), N, WealthTaxConfig(threshold=1.5, half_life=1000.0))
    assert tax.tolist() == [[0.75, 0, 0]]  # half of what is above 1.5 x 9/3
    config = IdleTaxConfig(threshold=0.3, half_life=1000.0)
    idle = is_idle(money(90.0, 1.0, 9.0), config)  # a tenth of 1/3 is idle for threshold 0.3, but not 9 %
    assert idle.tolist() == [[False, True, True]]
    assert is_idle(money(0.0, 0.0, 0.0), config).any().item() is False
    assert idle_tax(wealth, idle, N, config).tolist() == [[0, 0.5, 0.5]]


def test_ventures() -> None:
    config = VenturesConfig(leverage=4.0, subsidy_max=1.0, half_life=1000.0)
    treasury, total = torch.tensor([0.3]).double(), torch.tensor([4.0]).double()
    belief, share = money(0.5, 0.3, 0.1, 0.1), money(0.1, 0.2, 0.35, 0.35)
    idle = torch.tensor([[True, True, True, False]])
    grants = ventures.new_grants(treasury, money(0.0, 0.0, 0.0, 0.0), belief, share, idle, total, config)
    assert grants.tolist()[0] == pytest.approx([0.24, 0.06, 0, 0])  # 0.4 : 0.1 of the pot
    full = ventures.new_grants(treasury, money(0.2, 0.0, 0.0, 0.0), belief, share, idle, total, config)
    assert full.tolist()[0] == pytest.approx([0.05, 0.06, 0, 0])  # 1/4 buys the largest subsidy
    assert ventures.vested(grants, N, config).tolist()[0] == pytest.approx([0.12, 0.03, 0, 0])


def test_subsidies_of_both_kinds() -> None:
    state = CalibratedState(CalibratedConfig(), 1, 4, 2, [1.0] * 4, 0.0)
    state.grants.copy_(money(0.1, 0.9, 0.0, 0.0))
    found = ventures.subsidy(VenturesConfig(leverage=4.0), state)
    assert found.tolist()[0] == pytest.approx([0.4 / 1.25, 1, 0, 0])  # M/E = 5/4, with the grants
    state.credit[1].copy_(money(1e6, 1e4, 0.0, 0.0))
    bound = ventures.subsidy(VenturesConfig(kind="ucb", ucb_scale=10.0), state)
    assert bound.tolist()[0] == pytest.approx([10 * math.sqrt(math.log(1.01e6) / 1e6), 0.3718, 1, 1], abs=1e-4)
    assert not ventures.subsidy(VenturesConfig(kind="none"), state).any()


@pytest.mark.parametrize(
    "wealth", [(9.7, 0.1, 0.1, 0.1), (5.0, 0.05, 4.9, 0.05), (2.5, 2.5, 2.5, 2.5), (9.0, 0.6, 0.3, 0.1)]
)
def test_floor(wealth: tuple[float, ...]) -> None:
    filled = water_filled(money(*wealth), share=0.2)
    assert filled.sum().item() == pytest.approx(10)
    assert filled.min().item() >= 0.5 * (1 - 1e-12)
    above = [(w, f) for w, f in zip(wealth, filled[0].tolist(), strict=True) if f > 0.5 * (1 + 1e-9)]
    assert len({round(f / w, 9) for w, f in above}) == 1  # those above pay in proportion
    assert above[0][1] <= above[0][0]
    if min(wealth) >= 0.5:
        assert filled.tolist()[0] == pytest.approx(wealth)
    assert water_filled(money(*wealth), share=1.0).tolist()[0] == pytest.approx([2.5] * 4)


def test_central_bank() -> None:
    share = money(0.97, 0.01, 0.01, 0.01)
    r = central_bank.mixing_share(share, 0.7)
    mixed = central_bank.mixed(share, r)
    assert central_bank.relative_entropy(mixed).item() == pytest.approx(0.7, abs=1e-9)
    assert central_bank.mixing_share(money(0.3, 0.3, 0.2, 0.2), 0.7).item() == 0
    gifts = central_bank.new_money(share * 8, r)
    with_gifts = share * 8 + gifts
    torch.testing.assert_close(with_gifts / with_gifts.sum(), mixed)
    burned = central_bank.excess_money(share * 12, torch.tensor([12.0]), 8.0, N, 1000.0)
    assert burned.sum().item() == pytest.approx(2)
    torch.testing.assert_close(burned / burned.sum(), share)
    relaxed = central_bank.tax_half_life(torch.cat([share, money(0.25, 0.25, 0.25, 0.25)]), 100.0, BankConfig())
    assert relaxed.tolist() == [[100.0], [200.0]]


def test_excess_load() -> None:
    uniform = congestion.excess_load(money(3.0, 1.0, 0.0, 0.0), torch.ones(4).double())
    assert uniform.tolist() == [[2.0, 0.0, -1.0, -1.0]]
    kappa = torch.tensor([0.5, 1.5]).double()
    by_cost = congestion.excess_load(money(3.0, 1.0), 1 / kappa)  # a third of the cost, three times the load
    assert by_cost.tolist()[0] == pytest.approx([0, 0])
    assert congestion.excess_load(money(0.0, 0.0), kappa).tolist() == [[0, 0]]


def test_layers_with_targets_of_their_own_balance_as_each_alone() -> None:
    served, weights = torch.rand(2, 3, 4).double().unbind()
    error = congestion.excess_load(served, weights)
    bids, price = torch.randn(3, 20, 4).double(), torch.randn(3, 4).double()
    found = congestion.balancing_price(bids, price, weights, 2)
    for i in range(3):
        torch.testing.assert_close(error[i : i + 1], congestion.excess_load(served[i : i + 1], weights[i]))
        alone = congestion.balancing_price(bids[i : i + 1], price[i : i + 1], weights[i], 2)
        torch.testing.assert_close(found[i : i + 1], alone)


def test_flops_ratio() -> None:
    state = CalibratedState(CalibratedConfig(), 2, 4, 2, [1.0, 1.0, 1.0, 5.0], 12.0)  # even: 12 + 2 x 2 x 2 = 20
    served = torch.tensor([[0.0, 0.0, 10.0, 10.0], [10.0, 10.0, 0.0, 0.0]]).double()
    tokens = torch.tensor(10.0).double()  # 12 + (1 + 5) + (1 + 1)
    assert compute_price.flops_ratio(ComputeConfig(), state, served, tokens).item() == pytest.approx(20 / 20)
    assert compute_price.flops_ratio(ComputeConfig(budget=0.8), state, served, tokens).item() == pytest.approx(1.25)
    layers = CalibratedState(CalibratedConfig(), 2, 4, 2, [[1.0] * 4, [1.0, 1.0, 1.0, 5.0]], 14.0)  # even: 20 again
    assert layers.kappa().flatten().tolist() == pytest.approx([2 / 3] * 7 + [10 / 3])
    served = served.flip(0)  # 14 + (1 + 1) + (1 + 5)
    assert compute_price.flops_ratio(ComputeConfig(), layers, served, tokens).item() == pytest.approx(22 / 20)
    alike = CalibratedState(CalibratedConfig(), 2, 4, 2, [3.0] * 4, 0.1)
    assert compute_price.flops_ratio(ComputeConfig(), alike, served, tokens).item() == 1  # exactly


@pytest.mark.parametrize("dear", [1.01, 5.0, 500.0])
def test_automatic_price_of_compute_moves_by_the_cost_of_who_serves_in_standard_deviations(dear: float) -> None:
    """The dear expert serves all tokens of both layers: sqrt(3) standard deviations, as one of k = 2 winners half."""
    state = CalibratedState(CalibratedConfig(), 2, 4, 2, [1.0, 1.0, 1.0, dear], 12.0)
    served, tokens = torch.tensor([[8.0, 0.0, 0.0, 8.0]] * 2).double(), torch.tensor(8.0).double()
    config = ComputeConfig(kind="equal", half_life=8)
    price = compute_price.updated(config, state, compute_price.flops_ratio(config, state, served, tokens), tokens)
    spread = state.kappa().std(correction=0)
    assert (price * spread).item() == pytest.approx(0.5 * (3**0.5 - 3**-0.5) / 2)  # r = 1/2
    given = compute_price.updated(
        replace(config, gain=2.0), state, compute_price.flops_ratio(config, state, served, tokens), tokens
    )
    assert given.item() == pytest.approx(compute_price.flops_ratio(config, state, served, tokens).item() - 1)


def test_automatic_gain_of_experts_that_cost_the_same() -> None:
    flops, even = torch.full((2, 4), 3.0).double(), torch.tensor(12.0).double()
    assert compute_price.automatic_gain(flops, even, 4.0).item() == 0
    assert compute_price.automatic_gain(flops, even, 4.0, fixed_k=False).item() == pytest.approx(16 / 12)


def test_holdout_effect_against_ordinary_least_squares() -> None:
    """gain, error and tau of the regression of y on treatment and difficulty, all sequences of one length."""
    generator = torch.Generator().manual_seed(0)
    off = (torch.arange(40) % 4 == 0).double()
    x = torch.randn(40, generator=generator).double()
    y = 3 + 0.5 * x + 0.2 * off + 0.1 * torch.randn(40, generator=generator).double()
    sums = torch.stack([torch.ones(40).double(), y, x, y * y, x * y, x * x, torch.ones(40).double()])
    effect = alpha.holdout_effect(torch.stack([(sums * (1 - off)).sum(-1), (sums * off).sum(-1)]))
    design = torch.stack([torch.ones(40).double(), off, x], 1)
    solution = torch.linalg.lstsq(design, y).solution
    variance = (y - design @ solution).square().sum() / 37 * torch.linalg.inv(design.T @ design)[1, 1]
    assert effect.gain.item() == pytest.approx(solution[1].item())
    assert effect.error.item() == pytest.approx(variance.sqrt().item())
    assert effect.tau.item() == pytest.approx((solution[1] / variance.sqrt()).item())
    assert effect.sequences.item() == 10
    nobody = alpha.holdout_effect(torch.stack([sums.sum(-1), torch.zeros(7).double()]))
    assert (nobody.gain.item(), nobody.error.item(), nobody.tau.item()) == (0, 0, 0)


def test_alpha_follows_the_evidence() -> None:
    start = torch.tensor([0.5]).double()
    zero = torch.zeros(1).double()

    def after(kind: str, tau: float, kappa: float = 0.0) -> float:
        config = AlphaConfig(kind=kind, half_life=1000.0, least=0.3, largest=2.0)
        effect = alpha.Effect(zero[0], zero[0], torch.tensor(tau).double(), zero[0])
        return alpha.updated(config, start, effect, zero + kappa, N).item()

    assert after("holdout", 2.0) == pytest.approx(0.5 * math.e)
    assert after("holdout", 99.0) == pytest.approx(min(2.0, 0.5 * math.exp(1.5)))
    assert after("holdout", -2.0) == 0.3
    assert after("agreement", 2.0, kappa=0.2) == pytest.approx(0.5 * math.exp(0.1))
    assert after("fixed", 2.0, 1.0) == 0.5


def test_agreement_beyond_chance() -> None:
    share, kappa = alpha.agreement(
        torch.tensor([60.0, 70.0]),
        torch.tensor([[50.0, 50.0], [70.0, 30.0]]),
        torch.tensor([[50.0, 50.0], [100.0, 0.0]]),
    )
    torch.testing.assert_close(share, torch.tensor([0.6, 0.7]))
    torch.testing.assert_close(kappa, torch.tensor([0.2, 0.0]))  # a market that always favours one expert is chance


def test_theta_is_the_slope_of_value_on_bid() -> None:
    """Gross value against the bid; value net of the runner-up against the net bid; weights are tokens served."""
    generator = torch.Generator().manual_seed(0)
    served = torch.randint(1, 9, (500,), generator=generator).double()
    bid, runner_up = torch.randn(2, 500, generator=generator).double()
    gross, net = 0.3 * bid, 0.3 * (bid - runner_up)
    for value, is_net in ((gross, False), (net, True)):
        sums = price.moments(served, value * served, bid * served, runner_up * served).sum(-1, keepdim=True)
        assert price.nats_per_logit(sums, net=is_net).item() == pytest.approx(0.3)
    sums = price.moments(served, net * served, bid * served, runner_up * served).sum(-1, keepdim=True)
    by_surplus, by_price = price.efficiency(sums)
    assert by_surplus.item() == pytest.approx(1)
    assert by_price.item() < -0.5  # a dear runner-up leaves little
    upside_down = price.moments(served, -gross * served, bid * served, runner_up * served).sum(-1, keepdim=True)
    assert price.nats_per_logit(upside_down, net=False).item() == 0
