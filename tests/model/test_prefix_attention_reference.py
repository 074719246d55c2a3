"""Materialised attention against its formula, head by head and row by row."""

import math

import pytest
import torch
from torch import Tensor

from camoe.model.prefix_attention_reference import materialised_attention

C, P = 8, 3


def _literal(query: Tensor, prefix: Tensor, w_k: Tensor, w_v: Tensor, size: int) -> Tensor:
    """softmax(q K^T / sqrt(D)) V, one token, one head, one row at a time."""
    outputs = []
    for token in range(len(query)):
        heads = []
        for head in range(C // size):
            part = slice(head * size, (head + 1) * size)
            weights = [torch.exp(query[token, part] @ (w_k @ row)[part] / math.sqrt(size)) for row in prefix[token]]
            values = [weight * (w_v @ row)[part] for weight, row in zip(weights, prefix[token], strict=True)]
            heads.append(sum(values) / sum(weights))
        outputs.append(torch.cat(heads))
    return torch.stack(outputs)


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("n", [1, 4])
def test_output_and_every_gradient_are_those_of_the_formula(size: int, n: int) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = ((n, C), (n, P, C), (C, C), (C, C))
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]
    found, expected = materialised_attention(*inputs, size), _literal(*inputs, size)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    upstream = torch.randn(n, C, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad(found, inputs, upstream), torch.autograd.grad(expected, inputs, upstream)
    for ours, theirs in zip(*gradients, strict=True):
        assert float(theirs.abs().max()) > 1e-6
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
