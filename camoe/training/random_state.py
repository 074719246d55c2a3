"""Every global random generator, out of and back into what a checkpoint can hold."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every global random generator: tensors (torch, cuda) and JSON values (python, numpy)."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda.{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    numpy_state = [name, np.asarray(keys).tolist(), position, has_gauss, cached]
    return tensors, {"python": [version, list(internal), gauss], "numpy": numpy_state}


def restore_random_state(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Undo everything drawn since `random_state`.

    On a machine with another number of GPUs those that exist on both sides get their state back, with a warning:
    what is drawn on the others differs from an uninterrupted run.
    """
    torch.set_rng_state(tensors["torch"].cpu())
    _restore_gpus({key: state for key, state in tensors.items() if key.startswith("cuda.")})
    version, internal, gauss = values["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = values["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))


def _restore_gpus(saved: Mapping[str, Tensor]) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(min(count, len(saved))):
        torch.cuda.set_rng_state(saved[f"cuda.{index}"].cpu(), index)
    if count != len(saved):
        warnings.warn(f"random generators of {len(saved)} GPUs were saved, {count} are here", stacklevel=3)
