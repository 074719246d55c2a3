"""The noise of training's elections: a pure function of the seed and the step, so it needs no place in a checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor


class RouterNoise:
    """Standard normal draws [sequences,L,T,E] of one optimiser step, drawn sequence by sequence.

    The draw does not depend on how the step is cut into micro-batches: 1 x 8 and 8 x 1 see the same elections.
    """

    def __init__(self, seed: int, n_layer: int, n_expert: int) -> None:
        self.seed, self.n_layer, self.n_expert = seed, n_layer, n_expert

    def of_step(self, step: int, sequences: int, ctx_len: int) -> Tensor:
        """Noise of a whole optimiser step on the CPU."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        return torch.randn(sequences, self.n_layer, ctx_len, self.n_expert, generator=generator)
