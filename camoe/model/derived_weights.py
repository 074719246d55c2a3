"""Something computed from weights, kept until one of them changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

T = TypeVar("T")


class _OptimizerSteps:
    """Steps of all optimisers of this process: fused ones change weights without changing a tensor's version."""

    def __init__(self) -> None:
        self.count = 0
        register_optimizer_step_post_hook(self._add_one)

    def _add_one(self, *_: Any) -> None:
        self.count += 1


_STEPS = _OptimizerSteps()


def forget_all() -> None:
    """Let every value be made anew: weights have changed where nobody can see it."""
    _STEPS.count += 1


def wants_gradient(tensors: Iterable[Tensor]) -> bool:
    """Whether what is computed now from these tensors will be differentiated with respect to one of them."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


class DerivedWeights(Generic[T]):
    """Memory of one value made from weights; where gradients to them are wanted it is made anew every time.

    It is also made anew after any change in place (an optimiser step, load_state_dict) and after a weight got other
    storage (.to(), assignment). Only writes through `weight.data` or outside torch go unseen.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Let go of the value and of the storage it was made from."""
        self._made_from: list[tuple[Tensor, int]] = []
        self._kind: Hashable = None
        self._step = 0
        self._value: T | None = None

    def get(self, weights: Sequence[Tensor], make: Callable[[], T], kind: Hashable = None) -> T:
        """The value for these weights; `kind` tells apart values that differ in more than the weights."""
        if wants_gradient(weights) or any(weight.is_inference() for weight in weights):
            return make()  # weights born in inference mode do not tell when they change
        if self._value is None or kind != self._kind or not self._unchanged(weights):
            # A value made in inference mode could not serve a later forward with gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._value = make()
            # Holding the storage keeps its address from being given to other weights.
            self._made_from = [(weight.detach(), weight._version) for weight in weights]
            self._kind, self._step = kind, _STEPS.count
        return self._value

    def _unchanged(self, weights: Sequence[Tensor]) -> bool:
        return self._step == _STEPS.count and all(
            weight.data_ptr() == held.data_ptr() and weight._version == version and weight.dtype == held.dtype
            for weight, (held, version) in zip(weights, self._made_from, strict=True)
        )
