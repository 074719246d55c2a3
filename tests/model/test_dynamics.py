"""The pull of the residual stream, against loops over its numbers, and in every way a model is run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from camoe.config.model import DYNAMICS
from camoe.model.dynamics import KINDS, Equilibrium, MuPull, PidDynamics, build_dynamics
from camoe.model.language_model import LanguageModel
from camoe.model.recurrent_state import RecurrentState
from camoe.model.routing_trace import BlockInput, RoutingTrace
from camoe.training.objectives import Batch, compute_losses
from camoe.training.self_check import self_check
from tests.small_run import small_run

LAYERS, C, T = 3, 5, 13


def _clamped(number: Tensor, low: float, high: float) -> Tensor:
    """Step by step, so that gradients pass strictly between the ends alone."""
    if float(number.detach()) < low:
        return torch.full_like(number, low)
    return torch.full_like(number, high) if float(number.detach()) > high else number


def _literal(kind: str, h: Tensor, mus: list[Tensor]) -> Tensor:
    """h [n,C] after layers that do nothing but pull, number by number."""
    rows = []
    for row in h:
        numbers = []
        for channel, number in enumerate(row):
            velocity = torch.zeros((), dtype=h.dtype)
            for mu in mus:
                error = number - _clamped(mu[channel], 0.5, 1.5)
                velocity = _clamped(0.95 * velocity - 0.3 * error, -3.0, 3.0)
                number = number + 0.01 * (velocity if kind == "pid" else -error)
            numbers.append(number)
        rows.append(torch.stack(numbers))
    return torch.stack(rows)


def _layers(kind: str) -> list[Equilibrium]:
    generator = torch.Generator().manual_seed(1)
    layers = [KINDS[kind](C).double() for _ in range(LAYERS)]
    with torch.no_grad():
        for layer in layers:
            layer.mu.copy_(0.3 + 1.4 * torch.rand(C, generator=generator, dtype=torch.float64))  # some beyond the ends
    return layers


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_values_and_gradients_are_those_of_the_formula(kind: str) -> None:
    layers = _layers(kind)
    mus = [layer.mu for layer in layers]
    assert any(bool(((mu < 0.5) | (mu > 1.5)).any()) for mu in mus)
    h = 8 * torch.randn(7, C, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # past the limit of 3
    h.requires_grad_(True)
    stream, velocity = h, None
    for layer in layers:
        stream, velocity = layer(stream, velocity)
    expected = _literal(kind, h, mus)
    torch.testing.assert_close(stream, expected, rtol=0, atol=1e-14)
    weights = torch.randn(7, C, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fast = torch.autograd.grad((stream * weights).sum(), [h, *mus])
    slow = torch.autograd.grad((expected * weights).sum(), [h, *mus])
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    if kind == "pid":
        assert velocity is not None
        assert float(velocity.detach().abs().max()) == 3.0


def test_velocity_stays_float32_under_a_bfloat16_stream() -> None:
    stream, velocity = PidDynamics(C)(torch.randn(2, C, dtype=torch.bfloat16), None)
    assert velocity is not None
    assert (stream.dtype, velocity.dtype) == (torch.bfloat16, torch.float32)


def test_every_kind_is_built_by_name() -> None:
    built = [type(build_dynamics(kind, C)) for kind in DYNAMICS]
    assert built == [type(None), PidDynamics, MuPull]


def _model(kind: str, **groups: dict[str, str]) -> LanguageModel:
    model = LanguageModel(small_run(model={"n_layer": LAYERS, "dynamics": kind}, **groups))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def _batch() -> Batch:
    tokens = torch.randint(1, 256, (2, T + 1), generator=torch.Generator().manual_seed(2))
    return Batch(tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("pieces", [[1] * T, [5, 1, 7]])
@torch.no_grad()
def test_any_chunking_equals_the_full_pass(kind: str, pieces: list[int]) -> None:
    model, tokens = _model(kind).eval(), _batch().inputs
    full, _ = model(tokens)
    state: RecurrentState | None = None
    parts = []
    for piece in tokens.split(pieces, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    assert float((torch.cat(parts, 1) - full).abs().max()) < 1e-5 * max(1.0, float(full.abs().max()))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_recomputed_blocks_give_the_same_gradients_and_every_mu_learns(kind: str) -> None:
    gradients = []
    for recompute in ("none", "block"):
        model = _model(kind, train={"recompute": recompute})
        compute_losses(model, _batch()).total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    kept, again = gradients
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    mus = [name for name in kept if name.endswith("dynamics.mu")]
    assert len(mus) == LAYERS
    assert all(float(kept[name].norm()) > 0 for name in mus)


def test_a_run_that_resumes_at_a_layer_takes_its_velocity_along() -> None:
    model, batch = _model("pid"), _batch()
    trace = RoutingTrace(audited_layer=1)
    hidden, _ = model.hidden(batch.inputs, trace=trace)
    entry = trace.audited_input
    assert entry is not None
    assert entry.stream.velocity is not None
    rows = torch.tensor([1])
    again, _ = model.hidden(batch.inputs[rows], resume_at=entry.of_rows(rows))
    torch.testing.assert_close(again, hidden[rows], rtol=1e-5, atol=1e-5)
    forgetful = BlockInput(1, entry.stream._replace(velocity=None)).of_rows(rows)
    without, _ = model.hidden(batch.inputs[rows], resume_at=forgetful)
    assert float((without - hidden[rows]).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fresh_model_knows_nothing_and_passes_the_self_check(kind: str) -> None:
    model = LanguageModel(small_run(model={"dynamics": kind}))
    assert float(compute_losses(model, _batch()).token_loss.mean()) == pytest.approx(math.log(256), rel=0.05)
    assert self_check(model, _batch())


def test_without_dynamics_a_model_has_no_parameter_of_it() -> None:
    model = LanguageModel(small_run())
    assert not [name for name, _ in model.named_parameters() if "dynamics" in name]
