"""A kept value is never older than its weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camoe.model.derived_weights import DerivedWeights


class _Doubled(nn.Linear):
    """Twice its weight, kept, and how often it was made."""

    def __init__(self) -> None:
        super().__init__(3, 3, bias=False)
        self.kept, self.made = DerivedWeights[Tensor](), 0

    def doubled(self, kind: Any = None) -> Tensor:
        def make() -> Tensor:
            self.made += 1
            return 2 * self.weight

        return self.kept.get((self.weight,), make, kind)


def _optimiser_step(module: _Doubled, fused: bool = False) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=fused)
    module.weight.grad = torch.ones_like(module.weight)
    optimizer.step()


def _there_and_back(module: _Doubled) -> None:
    """bfloat16 loses digits; the new storage may get the old one's address."""
    module.to(torch.bfloat16).to(torch.float32)


def _swap_data(module: _Doubled) -> None:
    module.weight.data = module.weight.data + 1


CHANGES: list[Callable[[_Doubled], Any]] = [
    _optimiser_step,
    lambda module: _optimiser_step(module, fused=True),
    _there_and_back,
    _swap_data,
    lambda module: module.load_state_dict(_Doubled().state_dict()),
    lambda module: module.load_state_dict(_Doubled().state_dict(), assign=True),
    lambda module: module.to(torch.float64),
    lambda module: setattr(module, "weight", nn.Parameter(torch.randn(3, 3))),
    lambda module: nn.init.ones_(module.weight),
]


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_made_anew_after_every_way_to_change_a_weight(change: Callable[[_Doubled], Any]) -> None:
    module = _Doubled()
    with torch.no_grad():
        assert module.doubled() is module.doubled()
        assert module.made == 1
    change(module)
    with torch.no_grad():
        assert torch.equal(module.doubled(), 2 * module.weight)
        assert module.doubled() is module.doubled()
    assert module.made == 2


def test_many_swaps_of_storage_are_all_seen() -> None:
    module = _Doubled()
    for value in range(20):
        module.weight.data = torch.full((3, 3), float(value))
        with torch.no_grad():
            assert float(module.doubled()[0, 0]) == 2 * value


def test_gradients_are_never_lost_to_a_kept_value() -> None:
    module = _Doubled()
    with torch.no_grad():
        module.doubled()
    (gradient,) = torch.autograd.grad(module.doubled().sum(), module.weight)
    assert torch.equal(gradient, torch.full((3, 3), 2.0))
    module.weight.requires_grad_(False)
    assert module.doubled() is module.doubled()


def test_a_value_made_in_inference_mode_serves_a_forward_with_gradients() -> None:
    module = _Doubled().requires_grad_(False)
    with torch.inference_mode():
        kept = module.doubled()
    assert not kept.is_inference()
    x = torch.ones(3, requires_grad=True)
    (module.doubled() @ x).sum().backward()
    assert module.made == 1


@torch.inference_mode()
def test_weights_born_in_inference_mode_are_never_kept() -> None:
    module = _Doubled()
    module.doubled()
    module.weight.add_(1)
    assert torch.equal(module.doubled(), 2 * module.weight)


@torch.no_grad()
def test_another_kind_is_another_value() -> None:
    module = _Doubled()
    module.doubled("one")
    module.doubled("one")
    module.doubled("other")
    assert module.made == 2
