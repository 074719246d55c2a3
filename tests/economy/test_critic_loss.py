"""The critic's targets against literal loops, and which heads learn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camoe.config.economy import CriticConfig
from camoe.economy.critic import Critic
from camoe.economy.critic_loss import Outcome, affinity_loss, difficulty_loss

BASELINE = torch.tensor(3.0)


@pytest.fixture
def outcome() -> Outcome:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 5, generator=generator) > 0.3
    return Outcome(
        winners=torch.rand(2, 5, 4, generator=generator).argsort(-1)[..., :2],
        price=torch.rand(2, 5, generator=generator),
        token_loss=(torch.randn(2, 5, generator=generator) + 3) * mask,
        mask=mask,
    )


def smooth_l1(error: float) -> float:
    return 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5


def mean_over_targets(outcome: Outcome, error: Callable[[int, int], list[float]]) -> float:
    errors = [e for b in range(2) for t in range(5) if outcome.mask[b, t] for e in error(b, t)]
    return sum(smooth_l1(e) for e in errors) / len(errors)


def test_difficulty_is_loss_above_the_baseline(outcome: Outcome) -> None:
    difficulty = torch.rand(2, 5)
    expected = mean_over_targets(
        outcome, lambda b, t: [float(difficulty[b, t] - max(0.0, float(outcome.token_loss[b, t] - BASELINE)))]
    )
    assert difficulty_loss(difficulty, outcome, BASELINE).item() == pytest.approx(expected, rel=1e-5)


def test_affinity_is_what_each_winner_earned(outcome: Outcome) -> None:
    affinity = torch.randn(2, 5, 4)

    def errors(b: int, t: int) -> list[float]:
        profit = BASELINE - outcome.token_loss[b, t] - outcome.price[b, t]
        return [float(affinity[b, t, int(e)] - profit) for e in outcome.winners[b, t]]

    expected = mean_over_targets(outcome, errors)
    assert affinity_loss(affinity, outcome, BASELINE).item() == pytest.approx(expected, rel=1e-5)


def test_padding_has_neither_loss_nor_gradient(outcome: Outcome) -> None:
    poisoned = outcome._replace(
        token_loss=torch.where(outcome.mask, outcome.token_loss, torch.nan),
        price=torch.where(outcome.mask, outcome.price, torch.inf),
    )
    results = []
    for seen in (outcome, poisoned):
        affinity = torch.linspace(-1, 1, 40).view(2, 5, 4).requires_grad_()
        difficulty = torch.linspace(0, 1, 10).view(2, 5).requires_grad_()
        loss = difficulty_loss(difficulty, seen, BASELINE) + affinity_loss(affinity, seen, BASELINE)
        results.append((loss, *torch.autograd.grad(loss, (affinity, difficulty))))
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_nothing_but_padding_costs_nothing(outcome: Outcome) -> None:
    empty = outcome._replace(mask=torch.zeros(2, 5, dtype=torch.bool))
    assert difficulty_loss(torch.rand(2, 5), empty, BASELINE).item() == 0
    assert affinity_loss(torch.randn(2, 5, 4), empty, BASELINE).item() == 0


def test_layers_at_once_are_the_mean_of_layers(outcome: Outcome) -> None:
    """Baselines and elections differ by layer, token losses and mask do not."""
    baseline, difficulty, affinity = torch.tensor([3.0, 2.5]), torch.rand(2, 2, 5), torch.randn(2, 2, 5, 4)
    layers = [outcome, outcome._replace(winners=3 - outcome.winners, price=outcome.price + 1)]
    stacked = outcome._replace(
        winners=torch.stack([layer.winners for layer in layers]), price=torch.stack([layer.price for layer in layers])
    )
    for loss, opinion in ((difficulty_loss, difficulty), (affinity_loss, affinity)):
        at_once = loss(opinion, stacked, baseline[:, None, None])
        alone = torch.stack([loss(opinion[i], layers[i], baseline[i]) for i in range(2)])
        torch.testing.assert_close(at_once, alone.mean())


def test_each_head_learns_from_its_own_loss(outcome: Outcome) -> None:
    critic = Critic(6, 4, CriticConfig())
    opinion = critic(torch.randn(2, 5, 6))
    difficulty_loss(opinion.difficulty, outcome, BASELINE).backward(retain_graph=True)
    assert has_gradient(critic.difficulty_head)
    assert not has_gradient(critic.affinity_head)
    affinity_loss(opinion.affinity, outcome, BASELINE).backward()
    assert has_gradient(critic.affinity_head)


def has_gradient(head: nn.Module) -> bool:
    gradients: list[Tensor | None] = [parameter.grad for parameter in head.parameters()]
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)
