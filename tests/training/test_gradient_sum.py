"""Sums of gradients: every parameter that any rank has a gradient of, in pieces of any size."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from camoe.kernels.ranks import ALONE, Ranks
from camoe.training.gradient_sum import sum_gradients


class Recorded(Ranks):
    """Two ranks, of which the other gives what is set down here, in turn."""

    count = 2

    def __init__(self, others: list[Tensor]) -> None:
        self.others = others

    def sum(self, values: Sequence[Tensor]) -> list[Tensor]:
        (value,) = values
        return [value + self.others.pop(0)]


def _parameters(sizes: Sequence[int]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(size)) for size in sizes]


@pytest.mark.parametrize(("bucket", "pieces"), [(100, [[5, 4, 3]]), (8, [[5], [4, 3]]), (1, [[5], [4], [3]])])
def test_gradients_of_both_ranks_add_up_and_one_that_nobody_has_stays_none(bucket: int, pieces: list) -> None:
    first, second, nobodys, third = parameters = _parameters((5, 4, 7, 3))
    first.grad, third.grad = torch.ones(5), torch.ones(3)  # the other rank has those of the first two
    theirs = {5: torch.full((5,), 2.0), 4: torch.full((4,), 3.0), 3: torch.zeros(3)}
    presence = torch.tensor([1.0, 1.0, 0.0, 0.0])
    ranks = Recorded([presence, *(torch.cat([theirs[size] for size in piece]) for piece in pieces)])
    sum_gradients(parameters, ranks, bucket)
    assert ranks.others == []
    assert nobodys.grad is None
    for parameter, expected in ((first, 3.0), (second, 3.0), (third, 1.0)):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, torch.full_like(parameter, expected))


def test_alone_nothing_is_touched() -> None:
    (parameter,) = _parameters((3,))
    parameter.grad = gradient = torch.ones(3)
    sum_gradients([parameter], ALONE)
    assert parameter.grad is gradient
