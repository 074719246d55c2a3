"""What operations do, counted as they run: floating-point operations of products, and bytes read and written.

Works on fake tensors too, which have shapes and no memory. Native code behind ctypes is seen by what is allocated for
its results alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten

# Of what they look into they read no more than what they give.
LOOK_UPS = (aten.embedding, aten.index_select, aten.index, aten.gather)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape))


FLOPS = {
    **flop_registry,
    aten.addmm_: flop_registry[aten.addmm],
    aten.baddbmm_: flop_registry[aten.baddbmm],
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Torch's own formulas, also for what it names otherwise. Attention: as if it saw the future, computed or not."""


@dataclass(frozen=True)
class Operation:
    """FLOPs of a matrix product, in which type its factors are; bytes of all tensors read and written."""

    flops: int
    half: bool
    n_bytes: int


Operations = Counter[Operation]


class OperationCounter(TorchDispatchMode):
    """A context: counts the operations inside it that do more than look at a tensor in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Operations()

    def lap(self) -> Operations:
        """What was counted since the last lap."""
        counted, self.now = self.now, Operations()
        return counted

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if written and not _only_looks(func, read, written):
            self.now[_operation(func, args, kwargs, read, written, output)] += 1
        return output


def _only_looks(func: Any, read: list[Tensor], written: list[Tensor]) -> bool:
    """Whether the result is an input seen in another way: of its storage, and nothing was written there."""
    inputs = {tensor.untyped_storage()._cdata for tensor in read}
    return not func._schema.is_mutable and all(tensor.untyped_storage()._cdata in inputs for tensor in written)


def _operation(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], read: list[Tensor], written: list[Tensor], output: Any
) -> Operation:
    n_written = sum(map(_bytes, written))
    n_read = n_written if func._overloadpacket in LOOK_UPS else sum(map(_bytes, read))
    count = FLOPS.get(func._overloadpacket)
    flops = int(count(*args, **kwargs, out_val=output)) if count else 0
    return Operation(flops, bool(flops) and read[0].dtype is torch.bfloat16, n_read + n_written)


def _bytes(tensor: Tensor) -> int:
    """Of what is there: an expanded tensor repeats itself without being longer."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
