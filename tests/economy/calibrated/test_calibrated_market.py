"""The market as training sees it: what it asks for, what critics learn, and that nothing waits for the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from calibrated.worlds import World, critics_of, market_of, pieces, settle
from camoe.config import ConfigError
from camoe.config.calibrated import CREDITS, AlphaConfig, CalibratedConfig, CongestionConfig, CreditConfig, LedgerConfig
from camoe.config.economy import V21Config
from camoe.economy.calibrated.critic_losses import affinity_loss, difficulty_loss
from camoe.economy.critic_loss import Outcome
from camoe.economy.market import Market
from camoe.economy.measured_credit import AuditPlan, MeasuredCredit

WORLD = World(torch.zeros(2, 4), torch.zeros(2, 4), time=16)


def market(**changes: Any) -> Market:
    return market_of(CalibratedConfig(**changes), WORLD)


@pytest.mark.parametrize("credit", CREDITS)
def test_what_each_credit_asks_of_training(credit: str) -> None:
    asked = market(credit=CreditConfig(kind=credit, share=0.25))
    kinds = {"replacement_audit": "replacement", "leave_one_out": "leave_one_out", "midpoint": "midpoint"}
    assert asked.audits == (AuditPlan(kinds[credit], 0.25, 2) if credit in kinds else None)
    assert asked.needs_weight_credit == (credit == "gradient")
    if credit not in kinds:
        with pytest.raises(ValueError, match=f"credit {credit} takes no audits"):
            asked.open_window().add_credit(WORLD.record(asked, torch.Generator(), 2)[1])


def test_audits_rotate_over_the_layers_and_can_be_switched_off() -> None:
    assert [AuditPlan("replacement", 0.1, 3).layer(settlement) for settlement in range(5)] == [0, 1, 2, 0, 1]
    assert market(credit=CreditConfig(share=0.0)).audits is None
    assert market().holdout_share == 0.05
    assert market(alpha=AlphaConfig(kind="fixed")).holdout_share == 0
    assert Market.build(V21Config(), 2, 4, 2).audits is None


def test_too_few_experts_for_a_price() -> None:
    with pytest.raises(ConfigError, match=r"router\.top_k: 2 of 2 experts .* calibrated; at most 1"):
        Market.build(CalibratedConfig(), n_layer=3, n_expert=2, top_k=2)


def test_credit_of_the_gradient() -> None:
    """-g dl/dg of every winner, summed per expert; a record without it is refused."""
    asked, generator = market(credit=CreditConfig(kind="gradient", prior_tokens=1e-9)), torch.Generator().manual_seed(0)
    record, _ = WORLD.record(asked, generator, 3)
    with pytest.raises(ValueError, match="weight_credit"):
        asked.open_window().add(record)
    credit = torch.randn(record.winners.shape, generator=generator)
    window = asked.open_window()
    for part, row in zip(pieces(record), credit.unbind(1), strict=True):
        window.add(replace(part, weight_credit=row.unsqueeze(1)))
    expected = torch.zeros(2, 4).scatter_add_(1, record.winners.flatten(1), credit.flatten(1))
    torch.testing.assert_close(window.credit.credit[0], expected.double(), rtol=1e-5, atol=1e-5)  # type: ignore[attr-defined]


def test_measured_credit_counts_what_was_served() -> None:
    winners, mask = torch.tensor([[[0, 1], [2, 1], [0, 2]]]), torch.tensor([[True, True, False]])
    bids, price = torch.tensor([[[3.0, 2, 1], [0, 4, 5], [9, 0, 9]]]), torch.tensor([[1.0, 0.0, 0.0]])
    for expert, served, bid, paid in ((0, 1, 1.0, -1.0), (1, 2, 1.0, -4.0), (2, 1, 2.0, -3.0)):
        found = MeasuredCredit.of_audit(
            1, torch.tensor([expert]), torch.tensor([0.5]), winners=winners, bids=bids, price=price, mask=mask
        )
        assert (found.layer.item(), found.served.item()) == (1, served)
        assert (found.bid.item(), found.price.item()) == (pytest.approx(bid), pytest.approx(paid))


def test_quotes_follow_every_change_of_the_state() -> None:
    """Edited in place, restored, moved: never a stale quote; and one made in inference mode serves training."""
    asked = market_of(CalibratedConfig(), WORLD)
    asked.state.gate_std.fill_(1.0)
    asked.state.tokens.fill_(1.0)
    with torch.inference_mode():
        assert asked.quote(0) is asked.quote(0)
    gate = torch.zeros(1, 1, 4, requires_grad=True)

    def bias() -> Tensor:
        return asked.quote(1).bias(gate, None)[0, 0].detach().clone()

    (gate * asked.quote(1).bias(gate.detach(), None)).sum().backward()
    assert not bias().any()
    asked.state.capital[1, 0] = 4.0
    rich = bias()
    assert rich[0] > 0
    saved = {name: value.clone() if isinstance(value, Tensor) else value for name, value in asked.state_dict().items()}
    asked.state.alpha.mul_(0.5)
    assert bias()[0] == pytest.approx(rich[0].item() / 2)
    asked.load_state_dict(saved)
    assert torch.equal(bias(), rich)
    moved = market_of(CalibratedConfig(), WORLD).to("meta")
    assert moved.quote(0).toll().device.type == "meta"


class NoHostSync(TorchDispatchMode):
    """Refuses what would make the host wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "unique2", "equal"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("congestion", ["proportional", "sign", "pid", "quantile"])
@pytest.mark.parametrize("placebo", ["none", "shuffled", "frozen"])
def test_settlement_never_waits_for_the_device(congestion: str, placebo: str) -> None:
    config = CalibratedConfig(congestion=CongestionConfig(kind=congestion))
    config.placebo.kind = placebo
    asked, critics = market_of(config, WORLD), critics_of(WORLD)
    record, audit = WORLD.record(asked, torch.Generator(), 3)
    with NoHostSync():
        quote = asked.quote(0)
        quote.bias(record.gate_logits[0], None)
        quote.noise_std(0.1)
        settle(asked, [record], audit, critics)


@pytest.mark.parametrize("congestion", ["proportional", "sign", "pid", "quantile"])
def test_equal_costs_given_layer_by_layer_change_nothing(congestion: str) -> None:
    config = CalibratedConfig(congestion=CongestionConfig(kind=congestion, target="inverse_cost"))
    n_layer, n_expert = WORLD.shape
    flops = [float(3 + index) for index in range(n_expert)]
    states = []
    for costs in (flops, [flops] * n_layer):
        asked = market_of(config, WORLD, expert_flops=costs, fixed_flops=5.0)
        record, audit = WORLD.record(asked, torch.Generator().manual_seed(1), 3)
        settle(asked, [record], audit, critics_of(WORLD))
        states.append(asked.state)
    for name, buffer in states[0].named_buffers():
        if name != "expert_flops":
            torch.testing.assert_close(dict(states[1].named_buffers())[name], buffer, rtol=1e-12, atol=1e-14)


def test_nothing_is_differentiated() -> None:
    asked, critics = market(), critics_of(WORLD)
    record, audit = WORLD.record(asked, torch.Generator(), 3)
    attached = replace(record, affinity=record.affinity.clone().requires_grad_())
    report = settle(asked, [attached], audit, critics)
    assert not any(value.requires_grad for value in (*report.flows.values(), *report.metrics.values()))
    assert not any(buffer.requires_grad for buffer in asked.buffers())
    assert list(asked.parameters()) == []


def test_ledger_of_totals_writes_no_rows() -> None:
    for kind in ("rows", "totals"):
        asked = market(ledger=LedgerConfig(kind=kind))
        report = settle(asked, [WORLD.record(asked, torch.Generator(), 3)[0]], None, critics_of(WORLD))
        assert bool(report.rows) == (kind == "rows")
        assert "wealth_tax" in report.flows


def outcome(seed: int, padding: float) -> tuple[Tensor, Tensor, Outcome]:
    """Difficulty [L,B,T], affinity [L,B,T,E] and how the elections ended."""
    generator = torch.Generator().manual_seed(seed)
    difficulty, affinity = torch.randn(2, 6, 5, generator=generator), torch.randn(2, 6, 5, 4, generator=generator)
    mask = torch.rand(6, 5, generator=generator) >= padding
    loss = torch.where(mask, 3 + torch.randn(6, 5, generator=generator), torch.nan)
    nothing = torch.zeros(2, 6, 5)
    return difficulty, affinity, Outcome(nothing.long().unsqueeze(-1), nothing, loss, mask)


@pytest.mark.parametrize("deviation", [0.0, 2.0])
def test_difficulty_learns_the_z_score(deviation: float) -> None:
    """Padding, whatever it holds, has neither error nor gradient; before any settlement the batch scores itself."""
    difficulty, _, ended = outcome(0, padding=0.3)
    difficulty.requires_grad_()
    mean, spread = torch.tensor(3.5).double(), torch.tensor(deviation).double()
    loss = difficulty_loss(difficulty, ended, mean, spread)
    loss.backward()
    real = ended.token_loss[ended.mask]
    score = (real - 3.5) / 2 if deviation else (real - real.mean()) / real.std(correction=0)
    expected = torch.nn.functional.huber_loss(difficulty[:, ended.mask], score.expand(2, -1))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert difficulty.grad is not None
    assert not difficulty.grad[:, ~ended.mask].any()
    assert difficulty.grad[:, ended.mask].all()


def test_affinity_learns_the_outlook_however_the_batch_is_cut() -> None:
    _, affinity, ended = outcome(1, padding=0.3)
    mask, outlook = ended.mask, torch.softmax(torch.randn(2, 4), -1)
    poisoned = affinity.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    whole = affinity_loss(poisoned, mask, outlook)
    whole.backward()
    tokens = mask.sum(-1)
    by_sequence = [affinity_loss(affinity[:, b : b + 1], mask[b : b + 1], outlook) * tokens[b] for b in range(6)]
    torch.testing.assert_close(whole.detach(), torch.stack(by_sequence).sum() / tokens.sum())
    assert poisoned.grad is not None
    assert torch.isfinite(poisoned.grad).all()
    forecast = torch.log_softmax((affinity * mask[..., None]).sum(2) / tokens[:, None], -1)
    direct = -(outlook[:, None] * forecast).sum(-1) * tokens / tokens.sum()
    torch.testing.assert_close(whole.detach(), direct.sum(-1).mean())


def test_critics_of_all_layers_learn_from_the_market() -> None:
    asked = market()
    difficulty, affinity, ended = outcome(2, padding=0.0)
    losses = asked.critic_losses(difficulty, affinity, ended)
    assert sorted(losses) == ["critic_affinity", "critic_difficulty"]
    config = CalibratedConfig()
    config.critic.affinity_trained = False
    assert sorted(market_of(config, WORLD).critic_losses(difficulty, affinity, ended)) == ["critic_difficulty"]
