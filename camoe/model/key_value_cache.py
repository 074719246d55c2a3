"""What causal attention remembers: the keys and values of all tokens so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

SPARE_TOKENS = 16  # the least room a buffer keeps free when it grows


@dataclass
class _Buffer:
    """Room for more tokens than are there: [B,H,capacity,N] each, of which the first `filled` belong to some cache."""

    keys: Tensor
    values: Tensor
    filled: int

    def takes(self, cache: KeyValueCache, keys: Tensor) -> bool:
        """Whether these tokens can be written behind those of `cache` without anyone noticing."""
        writable = torch.is_inference_mode_enabled() or not self.keys.is_inference()
        fits = cache.length == self.filled and self.filled + keys.shape[2] <= self.keys.shape[2]
        return fits and writable and keys.dtype == self.keys.dtype

    def extended(self, keys: Tensor, values: Tensor) -> KeyValueCache:
        """The cache of all that is filled, these tokens included."""
        after = self.filled + keys.shape[2]
        self.keys[:, :, self.filled : after] = keys
        self.values[:, :, self.filled : after] = values
        self.filled = after
        return KeyValueCache(self.keys[:, :, :after], self.values[:, :, :after], self)


@dataclass(frozen=True)
class KeyValueCache:
    """keys, values: [B,H,S,N] of S tokens. A cache is a value: extending it makes another and leaves it as it was.

    Without gradients the tokens lie in a buffer that grows by half, so a new token is written behind the others and
    the history is copied once in a while, not every time; two thirds of the buffer or more are in use. Only the latest
    cache of a buffer may write on: an earlier one, extended again, starts a buffer of its own. With gradients every
    extension concatenates, for what backpropagation keeps must not be written to.
    """

    keys: Tensor
    values: Tensor
    _buffer: _Buffer | None = field(default=None, repr=False, compare=False)

    @property
    def length(self) -> int:
        """S."""
        return self.keys.shape[2]

    def map(self, change: Callable[[Tensor], Tensor]) -> KeyValueCache:
        """Both tensors changed by `change`."""
        return KeyValueCache(change(self.keys), change(self.values))

    @staticmethod
    def extended(cache: KeyValueCache | None, keys: Tensor, values: Tensor) -> KeyValueCache:
        """`cache` (None: nothing read yet) and behind it the tokens of keys and values [B,H,T,N]."""
        if torch.is_grad_enabled():
            if cache is not None:
                keys, values = torch.cat((cache.keys, keys), dim=2), torch.cat((cache.values, values), dim=2)
            return KeyValueCache(keys, values)
        if cache is not None and cache._buffer is not None and cache._buffer.takes(cache, keys):
            return cache._buffer.extended(keys, values)
        return _copied(cache, keys).extended(keys, values)


def _copied(cache: KeyValueCache | None, keys: Tensor) -> _Buffer:
    """A new buffer that holds `cache`, with room for as many tokens as `keys` has; for later ones if it holds any."""
    n_batch, n_head, n_token, size = keys.shape
    before = 0 if cache is None else cache.length
    capacity = max(before + n_token, before + max(before // 2, SPARE_TOKENS) if before else 0)
    shape = (n_batch, n_head, capacity, size)
    buffer = _Buffer(keys.new_empty(shape), keys.new_empty(shape), before)
    if cache is not None:
        buffer.keys[:, :, :before], buffer.values[:, :, :before] = cache.keys, cache.values
    return buffer
