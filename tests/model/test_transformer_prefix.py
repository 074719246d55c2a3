"""The Transformer expert against its formula, head by head and row by row."""

import math

import pytest
import torch
from torch import Tensor

from camoe.model.bridge import LinearStateBridge
from camoe.model.experts.expert import ExpertContext
from camoe.model.experts.transformer_prefix import TransformerPrefix

C, P, R = 8, 3, 2


def _expert(head_size: int) -> TransformerPrefix:
    torch.manual_seed(0)
    expert = TransformerPrefix(C, head_size, P).double()
    with torch.no_grad():
        expert.output.weight.mul_(10)
    return expert


def _inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(n, C, generator=generator, dtype=torch.float64)
    prefix = 2 * torch.randn(n, P, C, generator=generator, dtype=torch.float64)
    return h.requires_grad_(), prefix.requires_grad_()


def _run(expert: TransformerPrefix, h: Tensor, prefix: Tensor) -> Tensor:
    return expert(h, ExpertContext(torch.zeros_like(h), prefix))


def _literal(expert: TransformerPrefix, h: Tensor, prefix: Tensor) -> Tensor:
    """softmax(q K^T / sqrt(D)) V W_o * sigmoid(h W_g + b_g), one token, one head, one row at a time."""
    size, outputs = expert.head_size, []
    w_q, w_k, w_v, w_o = (part.weight.T for part in (expert.query, expert.key, expert.value, expert.output))
    for token in range(len(h)):
        heads = []
        for head in range(C // size):
            part = slice(head * size, (head + 1) * size)
            query = (h[token] @ w_q)[part]
            scores = [query @ (row @ w_k)[part] / math.sqrt(size) for row in prefix[token]]
            total = sum(torch.exp(score) for score in scores)
            heads.append(
                sum(
                    torch.exp(score) / total * (row @ w_v)[part]
                    for score, row in zip(scores, prefix[token], strict=True)
                )
            )
        gate = 1 / (1 + torch.exp(-(h[token] @ expert.output_gate.weight.T + expert.output_gate.bias)))
        outputs.append(torch.cat(heads) @ w_o * gate)
    return torch.stack(outputs)


@pytest.mark.parametrize("head_size", [2, 4, 8])
@pytest.mark.parametrize("n", [1, 4])
def test_output_and_every_gradient_are_those_of_the_formula(head_size: int, n: int) -> None:
    expert, (h, prefix) = _expert(head_size), _inputs(n)
    found, expected = _run(expert, h, prefix), _literal(expert, h, prefix)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    wanted = (h, prefix, *expert.parameters())
    upstream = torch.randn(n, C, dtype=torch.float64)
    gradients = torch.autograd.grad(found, wanted, upstream), torch.autograd.grad(expected, wanted, upstream)
    for ours, theirs in zip(*gradients, strict=True):
        assert float(theirs.abs().max()) > 1e-6
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_gradients_run_through_the_bridge_back_into_the_readout() -> None:
    expert, (h, _) = _expert(4), _inputs(2)
    bridge = LinearStateBridge(C, P, R).double()
    readout = torch.randn(2, C, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: _run(expert, h, bridge(h, r)), (readout,))
    (gradient,) = torch.autograd.grad(_run(expert, h, bridge(h, readout)).sum(), readout)
    assert float(gradient.abs().min()) > 0


def test_a_token_knows_nothing_of_the_others() -> None:
    expert, (h, prefix) = _expert(4), _inputs(5)
    torch.testing.assert_close(_run(expert, h, prefix)[2:3], _run(expert, h[2:3], prefix[2:3]), rtol=1e-12, atol=0)


def test_no_tokens_are_served() -> None:
    assert _run(_expert(4), *_inputs(0)).shape == (0, C)


def test_a_fresh_output_matrix_is_orthogonal_with_gain_a_tenth() -> None:
    weight = TransformerPrefix(C, 4, P).output.weight.detach()
    torch.testing.assert_close(weight @ weight.T, 0.01 * torch.eye(C), rtol=0, atol=1e-6)
