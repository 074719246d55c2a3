"""Gradients of all ranks added up, once per optimiser step, in a few large pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from camoe.kernels.ranks import Ranks

BUCKET = 16_777_216
"""Elements of one piece, 64 MiB of float32: large enough for the full speed of a link, small beside the gradients."""


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks, bucket: int = BUCKET) -> None:
    """Replace every gradient by its sum over ranks; a parameter that no rank has a gradient of keeps none.

    A rank without a gradient, because its tokens elected none of an expert's, takes part with zeros: otherwise the
    optimiser would move that expert on some ranks only.
    """
    if ranks.count == 1:
        return
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not learning:
        return
    present = torch.tensor([parameter.grad is not None for parameter in learning], dtype=torch.float32)
    (holders,) = ranks.sum([present])
    shared = [parameter for parameter, count in zip(learning, holders.tolist(), strict=True) if count]
    for part in _buckets(shared, bucket):
        _sum_bucket(part, ranks)


def _sum_bucket(part: list[nn.Parameter], ranks: Ranks) -> None:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in part]
    (flat,) = ranks.sum([torch.cat([gradient.flatten() for gradient in gradients])])
    for parameter, total in zip(part, flat.split([p.numel() for p in part]), strict=True):
        if parameter.grad is None:
            parameter.grad = total.view_as(parameter).clone()
        else:
            parameter.grad.copy_(total.view_as(parameter))


def _buckets(parameters: list[nn.Parameter], limit: int) -> Iterator[list[nn.Parameter]]:
    """Runs of parameters of one type that together stay below `limit` elements; a larger one is alone."""
    part: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if part and (size + parameter.numel() > limit or parameter.dtype != part[0].dtype):
            yield part
            part, size = [], 0
        part.append(parameter)
        size += parameter.numel()
    if part:
        yield part
