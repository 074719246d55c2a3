"""Sums over tokens of what the routers decided: computed on the device of the tensors, never waiting for it.

Shapes: L layers, B batch, T time, E experts, K winners. Formulas are those of `metric_definitions.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from camoe.routing.decision import RoutingDecision

TINY = 1e-12


class Softmax(NamedTuple):
    """Of scores [...,E]: probability [...,E], entropy [...] in nats, log_z = logsumexp [...]."""

    probability: Tensor
    entropy: Tensor
    log_z: Tensor


def softmax(scores: Tensor) -> Softmax:
    """All three from one exponential; torch's softmax takes ten times as long over so few experts."""
    largest = scores.amax(-1, keepdim=True)
    power = (scores - largest).exp()
    total = power.sum(-1, keepdim=True)
    probability = power / total
    entropy = total.log().squeeze(-1) - (probability * (scores - largest)).sum(-1)
    return Softmax(probability, entropy, (largest + total.log()).squeeze(-1))


def deviation(scores: Tensor) -> Tensor:
    """Standard deviation over experts, [...,E] -> [...]; written out for the same reason."""
    return (scores - scores.mean(-1, keepdim=True)).square().mean(-1).sqrt()


def one_hot_winners(experts: Tensor, n_expert: int, active: Tensor | None = None) -> Tensor:
    """[...,K] winners -> [...,E], 1 where the expert is among them; `active` [...,K] says which count."""
    chosen = torch.zeros(*experts.shape[:-1], n_expert, device=experts.device)
    return (
        chosen.scatter_(-1, experts, 1.0) if active is None else chosen.scatter_(-1, experts, active.to(chosen.dtype))
    )


def top_k_set(scores: Tensor, k: int) -> Tensor:
    """[...,E] scores -> [...,E], 1 at the k largest."""
    return one_hot_winners(scores.topk(k, dim=-1).indices, scores.shape[-1])


def top_set(scores: Tensor, size: Tensor) -> Tensor:
    """The same with as many of the largest as `size` [...] says."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    first = torch.arange(scores.shape[-1], device=scores.device) < size[..., None]
    return one_hot_winners(order, scores.shape[-1], first)


def micro_batch_sums(routing: RoutingDecision, mask: Tensor, first_dear: int) -> dict[str, Tensor]:
    """Sums over the real tokens of one micro-batch: [L], or [L,E] where the metric is per expert.

    mask: [B,T] bool, True at real targets. first_dear: experts from this index on are Transformer experts.
    """
    gate, weights = routing.gate_logits.float(), routing.weights.float()
    n_expert, k = gate.shape[-1], weights.shape[-1]
    served = one_hot_winners(routing.experts, n_expert, routing.active)
    # with K = E all are named and the active ones were elected; otherwise a capacity took from those elected
    winners = served if k == n_expert else one_hot_winners(routing.experts, n_expert)
    odds, spread = softmax(gate), deviation(gate)
    per_token = {
        **_gate_values(odds, winners, spread),
        **_election_values(routing, winners, weights),
        **(_runner_up_values(routing, winners, k, spread) if n_expert > k else {}),
        **({} if routing.base is None else {"prior_override_rate": (routing.experts[..., 0] != routing.base).float()}),
    }
    weight_share = torch.zeros_like(gate).scatter_(-1, routing.experts, weights)
    return {
        "load": _masked_sum(served, mask),
        "bridged": _masked_sum((served[..., first_dear:].sum(-1, keepdim=True) > 0).float(), mask).squeeze(-1),
        **_capacity_sums(routing, mask),
        "gate_probability": _masked_sum(odds.probability, mask),
        "weight_share": _masked_sum(weight_share, mask),
        **dict(zip(per_token, _masked_sum(torch.stack(list(per_token.values()), -1), mask).unbind(-1), strict=True)),
    }


def maxvio(load: Tensor) -> Tensor:
    """Largest load over the mean, minus 1: [L,E] -> [L]."""
    return load.amax(-1) / load.mean(-1).clamp(min=TINY) - 1


def _capacity_sums(routing: RoutingDecision, mask: Tensor) -> dict[str, Tensor]:
    """[L] assignments within a capacity and beyond it, and tokens of which every assignment is beyond."""
    if routing.overflow is None:
        return {}
    beyond = routing.overflow
    within = ~beyond if routing.active is None else routing.active & ~beyond
    lost = (beyond.sum(-1) > 0) & (within.sum(-1) == 0)
    counts = torch.stack((within.sum(-1), beyond.sum(-1), lost), -1).float()
    return dict(zip(("within_capacity", "overflow", "lost_tokens"), _masked_sum(counts, mask).unbind(-1), strict=True))


def _masked_sum(value: Tensor, mask: Tensor) -> Tensor:
    """[L,B,T,n] summed over the real tokens -> [L,n]; padding may hold anything, even NaN."""
    return torch.where(mask[None, ..., None], value, 0.0).sum((1, 2), dtype=torch.float64)


def _gate_values(odds: Softmax, winners: Tensor, spread: Tensor) -> dict[str, Tensor]:
    return {
        "gate_entropy": odds.entropy,
        "topk_mass": (odds.probability * winners).sum(-1),
        "router_z": odds.log_z,
        "z_raw": odds.log_z.square(),
        "gate_std": spread,
    }


def _election_values(routing: RoutingDecision, winners: Tensor, weights: Tensor) -> dict[str, Tensor]:
    adjusted, bias, k = routing.adjusted_logits.float(), routing.selection_bias.float(), weights.shape[-1]
    if routing.active is None or k < winners.shape[-1]:
        gate_alone, without_noise = top_k_set(routing.gate_logits.float(), k), top_k_set(adjusted, k)
    else:
        size = winners.sum(-1)
        gate_alone, without_noise = top_set(routing.gate_logits.float(), size), top_set(adjusted, size)
    return {
        "adjusted_entropy": softmax(adjusted).entropy,
        "weight_entropy": torch.special.entr(weights / weights.sum(-1, keepdim=True).clamp(min=TINY)).sum(-1),
        "bias_std": deviation(bias),
        "bias_spread": bias.amax(-1) - bias.amin(-1),
        "market_flip_rate": (gate_alone != without_noise).any(-1).float(),
        "noise_flip_rate": (without_noise != winners).any(-1).float(),
    }


def _runner_up_values(routing: RoutingDecision, winners: Tensor, k: int, spread: Tensor) -> dict[str, Tensor]:
    """What needs somebody to have lost the election."""
    ordered = routing.gate_logits.float().topk(k + 1, dim=-1).values
    margin = ordered[..., k - 1] - ordered[..., k]
    return {
        "margin_k": margin / spread.clamp(min=TINY),
        "price_mean": routing.price.float(),
        "surplus_mean": (routing.adjusted_logits.float() * winners).sum(-1) / k - routing.price.float(),
    }
