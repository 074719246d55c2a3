"""The answers that only values can give, when there are none: every expert wins equally often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from camoe.config import RunConfig
from camoe.model.cost import share_of_bridged

aten = torch.ops.aten


class EvenLoad(TorchDispatchMode):
    """A context inside FakeTensorMode: every expert serves equally often, and as many tokens as then need a prefix."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        mix = config.experts
        self._bridged = share_of_bridged(mix.total, mix.transformer_prefix, config.router.top_k)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten.bincount.default:
            return _even_counts(args[0].numel(), args[2] if len(args) > 2 else kwargs["minlength"])
        if func is aten.nonzero.default:
            (mask,) = args
            return torch.empty(round(mask.numel() * self._bridged), mask.dim(), dtype=torch.int64)
        return func(*args, **kwargs)


def _even_counts(total: int, n_bin: int) -> Tensor:
    """[E+1] whole numbers that add up to `total`, none for nobody, the last; with values, which may be read."""
    n_expert = n_bin - 1
    with _disable_current_modes():
        return torch.tensor([*(total * (i + 1) // n_expert - total * i // n_expert for i in range(n_expert)), 0])
