"""Compiled TimeMix: only in training, in the same model, with the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from camoe.kernels.native_build import BuildError, find_compiler
from camoe.model.compilation import compile_time_mix, uncompiled
from camoe.model.language_model import LanguageModel
from camoe.routing.election_terms import ElectionTerms
from camoe.training.objectives import Batch, compute_losses
from tests.small_run import small_run

T, EXPERTS = 17, 4


def _model(**train: str) -> LanguageModel:
    model = LanguageModel(small_run(train=train))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def _loss(model: LanguageModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(1, 256, (2, T + 1), generator=generator)
    noise = torch.randn(2, model.config.model.n_layer, T, EXPERTS, generator=generator)
    return compute_losses(model, Batch(tokens[:, :-1], tokens[:, 1:]), ElectionTerms(noise)).total


def test_only_what_has_gradients_is_compiled_and_it_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def compile(method: Callable) -> Callable:
        return lambda *inputs: (calls.append(method.__name__), method(*inputs))[1]

    monkeypatch.setattr(torch, "compile", compile)
    model = _model()
    names = list(model.state_dict())
    compile_time_mix(model)
    assert list(model.state_dict()) == names
    _loss(model)
    assert calls == ["project", "finish"] * 2
    with torch.no_grad():
        _loss(model)
    with uncompiled(model):
        _loss(model)
    assert len(calls) == 4
    _loss(model)
    assert len(calls) == 8


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "recompute"), [("fp32", "none"), ("bf16", "time_mix")])
def test_compiled_equals_plain(precision: str, recompute: str) -> None:
    try:
        find_compiler()
    except BuildError as error:
        pytest.skip(str(error))
    plain, compiled = (_model(precision=precision, recompute=recompute) for _ in range(2))
    compile_time_mix(compiled)
    losses = [_loss(model) for model in (plain, compiled)]
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=0)
    for loss in losses:
        loss.backward()
    for (name, one), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None and other.grad is not None:
            distance = (one.grad - other.grad).norm() / one.grad.norm().clamp(min=1e-6)
            assert distance < 10 * tolerance, name
