"""What a piece of work would cost if it were nothing but its matrix products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.sample import Contestant

_aten = torch.ops.aten
# Which two arguments are the factors.
_PRODUCTS = {
    _aten.mm.default: (0, 1),
    _aten.mm.out: (0, 1),
    _aten.bmm.default: (0, 1),
    _aten.bmm.out: (0, 1),
    _aten.addmm.default: (1, 2),
    _aten.addmm.out: (1, 2),
    _aten.addmm_.default: (1, 2),
    _aten.baddbmm.default: (1, 2),
    _aten.baddbmm.out: (1, 2),
    _aten.baddbmm_.default: (1, 2),
}
Factor = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class ProductRecorder(TorchDispatchMode):
    """Counts the matrix products that run inside, by shape, memory layout and dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[tuple[Factor, Factor]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _PRODUCTS:
            left, right = (args[place] for place in _PRODUCTS[func])
            self.products[_factor(left), _factor(right)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def flops(self) -> int:
        """Floating-point operations of all recorded products."""
        return sum(2 * _size(left) * right[0][-1] * count for (left, right), count in self.products.items())


def record_products(work: Callable[[], object]) -> ProductRecorder:
    """The products that `work` does, forward and backward."""
    with ProductRecorder() as recorder:
        work()
    return recorder


def floor_of(recorder: ProductRecorder) -> Contestant:
    """Does the recorded products again, on random numbers, and nothing else."""
    factors = {key: (_filled(key[0]), _filled(key[1])) for key in recorder.products}

    def run() -> None:
        for key, count in recorder.products.items():
            left, right = factors[key]
            product = torch.bmm if left.dim() == 3 else torch.mm
            for _ in range(count):
                product(left, right)

    return run


def _factor(tensor: Tensor) -> Factor:
    return tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype


def _filled(factor: Factor) -> Tensor:
    shape, stride, dtype = factor
    tensor = torch.empty_strided(shape, stride, dtype=dtype)
    return tensor.copy_(torch.randn(shape)) if 0 not in stride else torch.randn(shape, dtype=dtype)


def _size(factor: Factor) -> int:
    return int(torch.Size(factor[0]).numel())
