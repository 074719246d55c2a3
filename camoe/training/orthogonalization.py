"""The nearest matrix with equal singular values, roughly and fast: Newton-Schulz iterations on many at once."""

from __future__ import annotations

import torch
from torch import Tensor

# Source: Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks". The polynomial is steep at 0
# rather than exact at 1: five steps take singular values from 0.01 to 1 to between 0.68 and 1.14.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
SMALLEST_NORM = 1e-7


def orthogonalize(matrices: Tensor) -> Tensor:
    """U p(S / |S|) V^T for every matrix U S V^T of [B,m,n], with p about 1 from 0.01 on; [B,m,n] in the same type.

    p is five times x -> a x + b x^3 + c x^5, |S| the Frobenius norm. A zero matrix stays zero.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=SMALLEST_NORM)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
