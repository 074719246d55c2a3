"""How many bytes of tensors are alive, whose they are, and how many there were at most."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from camoe.model.rooms import current_room


@dataclass(frozen=True)
class Buffer:
    """A tensor as it was made: in which room, by which operation, of which shape."""

    room: str
    operation: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    n_bytes: int


class StorageTracker(TorchDispatchMode):
    """A context: counts the storage of every tensor that an operation inside it makes, until nobody holds it.

    Storage in `known` is not counted. Works as well on fake tensors, which have sizes and no memory. What native code
    allocates for itself is not seen.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._alive = {_key(tensor): ("", 0) for tensor in known}
        self.now, self.peak = 0, 0
        self.by_room: Counter[str] = Counter()
        self.largest: dict[Buffer, None] = {}

    def window_peak(self) -> int:
        """The most bytes since the last call; a new window begins."""
        peak, self.peak = self.peak, self.now
        return peak

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor) and _key(leaf) not in self._alive:
                self._born(leaf, str(func))
        return output

    def _born(self, tensor: Tensor, operation: str) -> None:
        storage, key, owner = tensor.untyped_storage(), _key(tensor), current_room()
        n_bytes = storage.nbytes()
        self._alive[key] = (owner, n_bytes)
        self.by_room[owner] += n_bytes
        self.now += n_bytes
        self.peak = max(self.peak, self.now)
        self._remember(Buffer(owner, operation, tuple(tensor.shape), tensor.dtype, n_bytes))
        weakref.finalize(storage, self._died, key).atexit = False

    def _died(self, key: int) -> None:
        owner, n_bytes = self._alive.pop(key)
        self.by_room[owner] -= n_bytes
        self.now -= n_bytes

    def _remember(self, buffer: Buffer, count: int = 8) -> None:
        """Keep the `count` largest kinds of buffer."""
        self.largest[buffer] = None
        if len(self.largest) > count:
            del self.largest[min(self.largest, key=lambda known: known.n_bytes)]


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [*model.parameters(), *model.buffers()]


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
