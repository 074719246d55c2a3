"""How near a result must come to a recorded array."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def assert_close(got: Tensor, recorded: np.ndarray, what: str, tolerance: dict[torch.dtype, float]) -> None:
    """The largest error may be `tolerance[dtype]` of the largest recorded magnitude; NaN is never close."""
    reference = torch.from_numpy(recorded)
    assert got.shape == reference.shape, f"{what}: shape {tuple(got.shape)}, recorded {tuple(reference.shape)}"
    error = (got.detach().double() - reference).abs().max()
    assert error <= tolerance[got.dtype] * reference.abs().max(), f"{what}: off by {error:.2e}"
