"""The bridge against its formula, row by row."""

import math

import pytest
import torch
from torch import Tensor, nn

from camoe.model.bridge import LinearStateBridge, OpenBridge
from camoe.model.prefix_attention_reference import materialised_prefix

C, P, R = 6, 3, 2


def _bridge() -> LinearStateBridge:
    """Every parameter alive, so that none may be forgotten."""
    torch.manual_seed(0)
    bridge = LinearStateBridge(C, P, R).double()
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return bridge


def _layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = x - x.sum() / len(x)
    return centred / ((centred**2).sum() / len(x) + 1e-5) ** 0.5 * norm.weight + norm.bias


def _literal(bridge: LinearStateBridge, h: Tensor, readout: Tensor) -> Tensor:
    """feat = GELU(LN([h ; LN(readout)] W_c)); low = feat W_low -> [P,r]; prefix = LN(low U + pos); row vectors."""
    w_c, w_low, up = bridge.compress.weight.T, bridge.to_low.weight.T, bridge.up.weight.T
    prefixes = []
    for token in range(len(h)):
        joined = torch.cat((h[token], _layer_norm(readout[token], bridge.readout_norm)))
        normed = _layer_norm(joined @ w_c, bridge.feature_norm)
        feature = normed * (1 + torch.erf(normed / math.sqrt(2))) / 2
        low = feature @ w_low
        rows = [low[p * R : (p + 1) * R] @ up + bridge.position[p] for p in range(P)]
        prefixes.append(torch.stack([_layer_norm(row, bridge.prefix_norm) for row in rows]))
    return torch.stack(prefixes)


def _inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    h, readout = torch.randn(2, n, C, generator=generator, dtype=torch.float64)
    return h.requires_grad_(), readout.requires_grad_()


@pytest.mark.parametrize("n", [1, 5])
def test_prefix_and_every_gradient_are_those_of_the_formula(n: int) -> None:
    bridge, (h, readout) = _bridge(), _inputs(n)
    found, expected = materialised_prefix(bridge, bridge(h, readout)), _literal(bridge, h, readout)
    assert found.shape == (n, P, C)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    wanted = (h, readout, *bridge.parameters())
    upstream = torch.randn(n, P, C, dtype=torch.float64)
    gradients = torch.autograd.grad(found, wanted, upstream), torch.autograd.grad(expected, wanted, upstream)
    for ours, theirs in zip(*gradients, strict=True):
        assert float(theirs.abs().max()) > 1e-6
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_the_gradient_through_the_readout_is_the_slope() -> None:
    bridge, (h, readout) = _bridge(), _inputs(2)
    assert torch.autograd.gradcheck(lambda r: bridge(h, r), (readout,))


def test_no_tokens_give_no_rows() -> None:
    assert _bridge()(*_inputs(0)).shape == (0, P, R)


def test_the_map_is_made_once_until_a_weight_changes_and_anew_where_it_learns() -> None:
    bridge = _bridge()
    with torch.no_grad():
        first = bridge.prefix_map()
        assert bridge.prefix_map() is first
        bridge.position.add_(1)
        assert bridge.prefix_map() is not first
    learning = bridge.prefix_map()
    assert learning.basis.requires_grad
    assert bridge.prefix_map() is not learning
    bridge.requires_grad_(False)
    assert bridge.prefix_map() is bridge.prefix_map()


def test_a_mix_without_transformer_experts_has_no_bridge_to_open() -> None:
    assert OpenBridge.of(None) is None


def test_a_zero_readout_at_the_start_of_a_text_is_finite() -> None:
    bridge, (h, _) = _bridge(), _inputs(2)
    readout = torch.zeros(2, C, dtype=torch.float64, requires_grad=True)
    prefix = bridge(h, readout)
    (gradient,) = torch.autograd.grad(prefix.square().sum(), readout)
    assert bool(prefix.isfinite().all())
    assert bool(gradient.isfinite().all())
