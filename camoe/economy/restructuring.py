"""A bankrupt critic's parameters move towards those of better layers.

Layers are settled in order, each seeing the layers before it as already settled and those behind it as not yet. Donors
that were restructured themselves make this a chain, which a unit triangular system resolves for all layers at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def seen_in_order(before: Tensor, after: Tensor) -> Tensor:
    """What layer i sees of layer j, [L,L], when layers are settled in order: `after` for j < i, else `before`."""
    n_layer = before.shape[0]
    settled = torch.ones(n_layer, n_layer, dtype=torch.bool, device=before.device).tril(-1)
    return torch.where(settled, after, before)


def donor_weights(performance: Tensor, purse: Tensor, donor_topk: int) -> Tensor:
    """Share of donor j in the restructuring of layer i, [L,L]; rows sum to 1, the diagonal is 0.

    Donors are the `donor_topk` other layers of highest performance as layer i sees it, or all others where there are
    fewer, weighted by their critics' purses; both arguments are [L,L] from `seen_in_order`. Equal performance favours
    the lower layer. A single layer has no donor, and its row is 0.
    """
    own = torch.eye(len(performance), dtype=torch.bool, device=performance.device)
    ranked = performance.masked_fill(own, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    chosen = torch.zeros_like(own).scatter(-1, ranked[:, :donor_topk], True) & ~own
    weight = torch.where(chosen, purse, 0)
    return weight / weight.sum(-1, keepdim=True).clamp(min=torch.finfo(purse.dtype).tiny)


def transition(bankrupt: Tensor, donors: Tensor, step: float) -> Tensor:
    """Matrix A [L,L] with P' = A P for the parameters P [L,...] of all layers (economy A.9).

    Layer i, if bankrupt, becomes (1 - step) P_i + step * sum_j donors_ij (P'_j if j < i else P_j).
    """
    # without donors nobody moves
    moved = step * bankrupt.to(donors.dtype) * donors.sum(-1)
    pull = moved.unsqueeze(-1) * donors
    identity = torch.eye(len(donors), dtype=donors.dtype, device=donors.device)
    settled, unsettled = identity - pull.tril(-1), torch.diag(1 - moved) + pull.triu(1)
    return torch.linalg.solve_triangular(settled, unsettled, upper=False, unitriangular=True)


@torch.no_grad()
def restructure(critics: Sequence[nn.Module], bankrupt: Tensor, donors: Tensor, step: float) -> None:
    """Move every parameter of the bankrupt layers' critics, in place; the other layers' stay as they are.

    `critics` holds one critic per layer, in order; see `transition` for bankrupt [L], donors [L,L] and step.
    """
    if len(critics) != len(donors):
        raise ValueError(f"{len(critics)} critics for {len(donors)} layers")
    moves = transition(bankrupt, donors.double(), step)
    for layers in zip(*(critic.parameters() for critic in critics), strict=True):
        old = torch.stack(layers).flatten(1)
        new = (moves @ old.double()).to(old.dtype)
        settled = torch.where(bankrupt.unsqueeze(-1), new, old).view(len(layers), *layers[0].shape)
        torch._foreach_copy_(list(layers), list(settled.unbind(0)))
