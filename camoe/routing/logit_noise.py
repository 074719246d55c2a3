"""Training's noise on gate logits."""

from __future__ import annotations

import torch
from torch import Tensor


def noisy(logits: Tensor, noise: Tensor | None, kind: str, strength: float) -> Tensor:
    """Logits z [B,T,E] as they are heard through standard normal draws n [B,T,E]; None, or strength s = 0: as they are.

    With u = Phi(n), which is uniform in 0..1:
    gaussian z + s n (Shazeer et al. 2017, with a fixed deviation); jitter z (1 + s (2u - 1)) (Switch Transformers,
    Fedus et al. 2021, which jitters the router's input instead); dropout z / (1 - s) where u >= s, else 0 (CDRmix).
    """
    if noise is None or not strength:
        return logits
    if kind == "gaussian":
        return logits + strength * noise
    uniform = torch.special.ndtr(noise)
    if kind == "jitter":
        return logits * (1 + strength * (2 * uniform - 1))
    return logits * (uniform >= strength) / (1 - strength)
