"""Refuses whatever makes the host wait for a device, on any device."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that make the host wait for the device, or give a result a size that only the device knows.
WAITING = {
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::nonzero",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
    "aten::bincount",
    "aten::equal",
    "aten::is_nonzero",
    "aten::repeat_interleave.Tensor",
}


class NoWaiting(TorchDispatchMode):
    """Refuses operations that wait."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if name in WAITING or _indexed_by_mask(name, args):
            raise AssertionError(f"{name} makes the host wait")
        return func(*args, **(kwargs or {}))


def _indexed_by_mask(name: str, args: Any) -> bool:
    if not name.startswith(("aten::index.", "aten::index_put", "aten::_index_put")):
        return False
    return any(index is not None and index.dtype == torch.bool for index in args[1])
