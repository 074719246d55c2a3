"""How finely an expert's number of rows may vary: oneDNN compiles code for every shape of product it meets."""

from __future__ import annotations

import torch

# Of all rows: what the rounding of one expert's adds at most.
FINEST_SHARE = 64


def row_multiple(n_row: int, device_type: str) -> int:
    """Multiple to which experts that serve `n_row` rows together round theirs up; 1 where shapes cost nothing.

    How many tokens an expert wins changes in every layer and step. oneDNN takes a millisecond and 0.65 MB for each new
    shape (measured, float32, AVX-512) and keeps 1,024 of them. Rounded up to a power of two of at most a 64th of all
    rows, few shapes remain.
    """
    if device_type != "cpu" or not _by_onednn():
        return 1
    return 1 << max(n_row // FINEST_SHARE, 1).bit_length() - 1


def _by_onednn() -> bool:
    """Whether products on the CPU go to oneDNN: those of bfloat16, and of float32 at `medium`."""
    return torch.get_float32_matmul_precision() == "medium" or torch.is_autocast_enabled("cpu")
