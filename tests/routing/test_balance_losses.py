"""Balance losses against their formulas written out token by token."""

import torch

from camoe.routing.balance_losses import load_share, switch_balance_loss


def _literal_switch(gate_logits: torch.Tensor, experts: torch.Tensor, mask: torch.Tensor) -> float:
    n_expert = gate_logits.shape[-1]
    tokens = [t for t in range(len(mask)) if mask[t]]
    count, mass = [0.0] * n_expert, [0.0] * n_expert
    for t in tokens:
        probability = torch.softmax(gate_logits[t], -1)
        for e in range(n_expert):
            mass[e] += float(probability[e]) / len(tokens)
        for e in experts[t].tolist():
            count[e] += 1
    return n_expert * sum(c / sum(count) * p for c, p in zip(count, mass, strict=True))


def test_switch_loss_equals_the_written_out_formula() -> None:
    torch.manual_seed(1)
    logits, mask = torch.randn(2, 11, 5), torch.rand(11) > 0.3
    experts = torch.stack([torch.stack([torch.randperm(5)[:2] for _ in range(11)]) for _ in range(2)])
    loss = switch_balance_loss(logits, experts, mask)
    for layer in range(2):
        assert abs(float(loss[layer]) - _literal_switch(logits[layer], experts[layer], mask)) < 1e-6


def test_switch_loss_is_one_at_perfect_balance_and_pushes_the_popular_expert_down() -> None:
    experts = torch.tensor([[0, 1], [2, 3], [1, 0], [3, 2]])
    mask = torch.ones(4, dtype=torch.bool)
    assert float(switch_balance_loss(torch.zeros(4, 4), experts, mask)) == 1.0
    logits = torch.zeros(4, 4, requires_grad=True)
    switch_balance_loss(logits, torch.tensor([[0, 1], [0, 2], [0, 3], [0, 1]]), mask).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()


def test_padding_is_not_counted() -> None:
    logits, experts = torch.randn(6, 3), torch.tensor([[0], [1], [2], [0], [0], [0]])
    mask = torch.tensor([True, True, True, False, False, False])
    torch.testing.assert_close(load_share(experts, 3, mask), torch.full((3,), 1 / 3))
    torch.testing.assert_close(
        switch_balance_loss(logits, experts, mask), switch_balance_loss(logits[:3], experts[:3], mask[:3])
    )
