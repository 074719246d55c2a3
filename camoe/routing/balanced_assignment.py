"""Balanced assignment: every token one expert, no expert more than its share, the sum of their scores the largest."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS, BETWEEN_LOOKS, SMALLEST_RAISE = 2000, 16, 1e-3


@torch.no_grad()
def balanced_assignment(scores: Tensor) -> Tensor:
    """Expert [B,T] of every token by scores [B,T,E]: at most ceil(T/E) tokens of a sequence to one.

    Bertsekas' auction (Bertsekas and Castanon 1989, for objects of which there are several alike), of all sequences
    and experts at once: tokens without an expert bid for the best one as much as makes it their second best, and
    epsilon more; experts keep the highest bids they have seats for, and their price is the lowest of those once all
    seats are taken. The sum comes within T epsilon of the best, with epsilon a thousandth of the sequence's spread of
    scores. A round costs O(B T E log T); rounds are a few hundred. The host looks whether all have an expert every 16
    rounds; whoever has none after 2000 takes any free seat.
    """
    sequences, time, n_expert = scores.shape
    if n_expert == 1:
        return torch.zeros(sequences, time, dtype=torch.int64, device=scores.device)
    seats = -(-time // n_expert)
    raise_by = SMALLEST_RAISE * (scores.amax((1, 2), keepdim=True) - scores.amin((1, 2), keepdim=True)) + 1e-12
    experts = torch.full((sequences, time), -1, device=scores.device)
    paid, price = torch.zeros_like(scores[..., 0]), torch.zeros_like(scores[:, 0])
    for number in range(ROUNDS):
        if number % BETWEEN_LOOKS == 0 and bool((experts >= 0).all()):
            return experts
        experts, paid, price = _round(scores, experts, paid, price, seats, raise_by)
    return _seated(experts, n_expert, seats)


def _round(
    scores: Tensor, experts: Tensor, paid: Tensor, price: Tensor, seats: int, raise_by: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Experts [B,T] (-1: none), what tokens pay [B,T], and prices [B,E] after one round of bids."""
    best = (scores - price[:, None]).topk(2, dim=-1)
    wanted = best.indices[..., 0]
    bid = scores.gather(-1, wanted[..., None])[..., 0] - best.values[..., 1] + raise_by[..., 0]
    free = experts < 0
    experts, paid = torch.where(free, wanted, experts), torch.where(free, bid, paid)
    offers = torch.where(
        experts[:, None] == torch.arange(scores.shape[-1], device=scores.device)[:, None], paid[:, None], -torch.inf
    )
    kept = offers.topk(seats, dim=-1)
    stays = torch.zeros_like(offers, dtype=torch.bool).scatter_(-1, kept.indices, kept.values > -torch.inf).any(1)
    lowest = kept.values[..., -1]
    return experts.masked_fill(~stays, -1), paid, torch.where(lowest > -torch.inf, lowest, price)


def _seated(experts: Tensor, n_expert: int, seats: int) -> Tensor:
    """Those without an expert, in order, on the free seats, in order."""
    taken = (experts[..., None] == torch.arange(n_expert, device=experts.device)).sum(1)
    left = (seats - taken).cumsum(-1)
    number = (experts < 0).cumsum(-1) - 1
    return torch.where(experts < 0, torch.searchsorted(left, number, right=True), experts)
