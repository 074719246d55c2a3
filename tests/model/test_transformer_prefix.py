"""The Transformer expert against the materialised form, in training, with frozen weights and with kept factors."""

import pytest
import torch
from torch import Tensor

from camoe.model.bridge import LinearStateBridge
from camoe.model.experts import transformer_prefix
from camoe.model.experts.expert import ExpertContext
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.low_rank_prefix import FEW_TOKENS
from camoe.model.prefix_attention_reference import materialised_attention, materialised_prefix

C, P, R = 8, 3, 2


def _pair(head_size: int = 4) -> tuple[TransformerPrefix, LinearStateBridge]:
    torch.manual_seed(0)
    expert, bridge = TransformerPrefix(C, head_size, P, R).double(), LinearStateBridge(C, P, R).double()
    with torch.no_grad():
        expert.output.weight.mul_(10)
        bridge.position.normal_()
        bridge.prefix_norm.bias.normal_()
    return expert, bridge


def _inputs(n: int) -> tuple[Tensor, Tensor]:
    h, low = torch.randn(n, C, dtype=torch.float64), torch.randn(n, P, R, dtype=torch.float64)
    return h.requires_grad_(), low.requires_grad_()


def _run(expert: TransformerPrefix, bridge: LinearStateBridge, h: Tensor, low: Tensor) -> Tensor:
    return expert(h, ExpertContext(torch.zeros_like(h), low, bridge.prefix_map()))


def _reference(expert: TransformerPrefix, bridge: LinearStateBridge, h: Tensor, low: Tensor) -> Tensor:
    prefix = materialised_prefix(bridge, low)
    attended = materialised_attention(h @ expert.query.weight.T, prefix, expert.key.weight, expert.value.weight, 4)
    gate = 1 / (1 + torch.exp(-(h @ expert.output_gate.weight.T + expert.output_gate.bias)))
    return attended @ expert.output.weight.T * gate


@pytest.mark.parametrize("n", [0, 1, FEW_TOKENS - 1, FEW_TOKENS, 33])
def test_output_and_every_gradient_are_those_of_the_materialised_form(n: int) -> None:
    (expert, bridge), (h, low) = _pair(), _inputs(n)
    found, expected = _run(expert, bridge, h, low), _reference(expert, bridge, h, low)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    norm = bridge.prefix_norm
    wanted = (h, low, *expert.parameters(), bridge.up.weight, bridge.position, norm.weight, norm.bias)
    upstream = torch.randn(n, C, dtype=torch.float64)
    gradients = torch.autograd.grad(found, wanted, upstream), torch.autograd.grad(expected, wanted, upstream)
    for ours, theirs in zip(*gradients, strict=True):
        assert n == 0 or float(theirs.abs().max()) > 1e-6
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n", [1, 20])
def test_kept_factors_follow_every_change_of_expert_and_bridge(n: int) -> None:
    (expert, bridge), (h, low) = _pair(), _inputs(n)
    changes = (expert.key.weight, expert.value.weight, bridge.up.weight, bridge.position, bridge.prefix_norm.weight)
    with torch.no_grad():
        for changed in (*changes, bridge.prefix_norm.bias):
            torch.testing.assert_close(_run(expert, bridge, h, low), _reference(expert, bridge, h, low))
            changed.add_(torch.randn_like(changed))
        torch.testing.assert_close(_run(expert, bridge, h, low), _reference(expert, bridge, h, low))
    expert.float(), bridge.float()
    with torch.no_grad():
        h, low = h.float(), low.float()
        torch.testing.assert_close(
            _run(expert, bridge, h, low), _reference(expert, bridge, h, low), rtol=1e-4, atol=1e-5
        )


def test_factors_are_made_once_for_all_tokens_of_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = transformer_prefix.prefix_factors
    monkeypatch.setattr(transformer_prefix, "prefix_factors", lambda *args: made.append(1) or original(*args))
    expert, bridge = _pair()
    with torch.inference_mode():
        for n in (1, 1, 20, 1):
            _run(expert, bridge, *_inputs(n))
    assert len(made) == 1
    _run(expert, bridge, *_inputs(20))
    _run(expert, bridge, *_inputs(20))
    assert len(made) == 3
    _run(expert, bridge, *_inputs(FEW_TOKENS - 1))
    assert len(made) == 3


def test_gradients_run_through_the_bridge_back_into_the_readout() -> None:
    (expert, bridge), (h, _) = _pair(), _inputs(2)
    readout = torch.randn(2, C, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: _run(expert, bridge, h, bridge(h, r)), (readout,))
    (gradient,) = torch.autograd.grad(_run(expert, bridge, h, bridge(h, readout)).sum(), readout)
    assert float(gradient.abs().min()) > 0


@pytest.mark.parametrize("n", [5, 40])
def test_a_token_knows_nothing_of_the_others(n: int) -> None:
    (expert, bridge), (h, low) = _pair(), _inputs(n)
    alone = _run(expert, bridge, h[2:3], low[2:3])
    torch.testing.assert_close(_run(expert, bridge, h, low)[2:3], alone, rtol=1e-11, atol=0)


def test_a_fresh_output_matrix_is_orthogonal_with_gain_a_tenth() -> None:
    weight = TransformerPrefix(C, 4, P, R).output.weight.detach()
    torch.testing.assert_close(weight @ weight.T, 0.01 * torch.eye(C), rtol=0, atol=1e-6)


def test_autocast_reaches_attention_and_comes_back_in_the_gradients() -> None:
    torch.manual_seed(0)
    expert, bridge = TransformerPrefix(64, 16, 5, 7), LinearStateBridge(64, 5, 7)
    h, readout = torch.randn(2, 40, 64)
    outputs = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = _run(expert, bridge, h, bridge(h, readout))
        gradients = torch.autograd.grad(out.float().square().mean(), [*expert.parameters(), *bridge.parameters()])
        outputs.append([out, *gradients])
    assert outputs[1][0].dtype == torch.bfloat16
    for exact, half in zip(*outputs, strict=True):
        assert float((half.detach().float() - exact.detach()).norm() / exact.detach().norm()) < 0.05
    assert bool(outputs[1][0].isfinite().all())
