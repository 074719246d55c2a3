"""bf16: matrix products in bfloat16, everything delicate in float32, and nearly the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from camoe.config.run import RunConfig
from camoe.economy.critic import Critic
from camoe.model.language_model import LanguageModel
from camoe.routing.election_terms import ElectionTerms
from camoe.routing.gate import Gate
from camoe.training.objectives import Batch, Losses, compute_losses
from tests.small_run import small_run

T, EXPERTS = 24, 4
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
NORMS = ("native_layer_norm", "native_group_norm")


def _config(precision: str = "bf16", **groups: Any) -> RunConfig:
    groups.setdefault("train", {})["precision"] = precision
    return small_run(model={"deep_embed_attention": True}, **groups)


def _model(config: RunConfig) -> LanguageModel:
    model = LanguageModel(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def _losses(model: LanguageModel) -> Losses:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(1, 256, (2, T + 1), generator=generator)
    noise = torch.randn(2, model.config.model.n_layer, T, EXPERTS, generator=generator)
    return compute_losses(model, Batch(tokens[:, :-1], tokens[:, 1:]), ElectionTerms(noise))


def _gradient(model: LanguageModel) -> Tensor:
    found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]
    assert all(gradient.dtype == torch.float32 for gradient in found)
    return torch.cat([gradient.flatten() for gradient in found])


@dataclass
class _Recorder(TorchDispatchMode):
    """Types of gate's and critic's products, of all other Linear's results, and of every norm's statistics."""

    inside: int = 0
    delicate: set[torch.dtype] = field(default_factory=set)
    linear: set[torch.dtype] = field(default_factory=set)
    statistics: set[torch.dtype] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, name = func(*args, **(kwargs or {})), func.overloadpacket.__name__
        if name in PRODUCTS and self.inside:
            self.delicate.add(args[-1].dtype)
        if name in NORMS:
            self.statistics.add(result[1].dtype)
        return result


@contextmanager
def _recorded(model: LanguageModel) -> Iterator[_Recorder]:
    recorder = _Recorder()

    def enter(*_: Any) -> None:
        recorder.inside += 1

    def leave(*_: Any) -> None:
        recorder.inside -= 1

    def note(_: nn.Module, __: Any, result: Tensor) -> None:
        if not recorder.inside:
            recorder.linear.add(result.dtype)

    hooks = []
    for module in model.modules():
        if isinstance(module, Gate | Critic):
            hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        elif isinstance(module, nn.Linear):
            hooks.append(module.register_forward_hook(note))
    with recorder:
        yield recorder
    for hook in hooks:
        hook.remove()


def test_products_are_bfloat16_except_those_of_gate_and_critic() -> None:
    model = _model(_config())
    with _recorded(model) as seen:
        losses = _losses(model)
    assert seen.linear == {torch.bfloat16}
    assert seen.delicate == {torch.float32}
    assert seen.statistics == {torch.float32}
    for layer in losses.trace.layers:
        decided = [value for value in vars(layer.decision).values() if value is not None and value.is_floating_point()]
        assert all(value.dtype == torch.float32 for value in [*decided, *layer.opinion])
    assert losses.token_loss.dtype == losses.total.dtype == torch.float32


def test_fp32_uses_no_bfloat16() -> None:
    model = _model(_config("fp32"))
    with _recorded(model) as seen, torch.autocast("cpu", torch.bfloat16):
        _losses(model)
    assert seen.linear == seen.delicate == seen.statistics == {torch.float32}


@torch.no_grad()
def test_the_carried_state_is_float32() -> None:
    _, state = _model(_config())(torch.ones(2, 5, dtype=torch.int64))
    assert {layer.wkv.dtype for layer in state.layers} == {torch.float32}


def test_loss_and_gradient_are_nearly_those_of_float32() -> None:
    results = []
    for precision in ("fp32", "bf16"):
        model = _model(_config(precision))
        losses = _losses(model)
        losses.total.backward()
        results.append((losses.total.detach(), _gradient(model)))
    (exact, exact_gradient), (loss, gradient) = results
    torch.testing.assert_close(loss, exact, rtol=2e-3, atol=0)
    assert not torch.equal(gradient, exact_gradient)
    assert torch.cosine_similarity(gradient, exact_gradient, dim=0) > 0.99


def test_weights_changed_in_place_are_seen_by_the_next_forward() -> None:
    """The copies of weights that autocast keeps must not outlive a forward pass."""
    used, fresh = _model(_config()), _model(_config())
    before = _losses(used).total.detach()
    for model in (used, fresh):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
    after = _losses(used).total.detach()
    assert not torch.equal(before, after)
    assert torch.equal(after, _losses(fresh).total.detach())
