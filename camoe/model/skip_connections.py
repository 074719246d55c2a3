"""Skip connections over depth, as in a U-Net: the first half of the layers is heard again in the second.

Source: Ronneberger et al., "U-Net", 2015, figure 1, as sums instead of concatenations in OpenAI's parameter-golf
baseline (`skip_weights`) and Complexity-ML's submissions 224 and 250 to it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def keeps_output(layer: int, n_layer: int) -> bool:
    """Whether a layer's output is kept for a later one: those of the first L // 2 layers are."""
    return layer < n_layer // 2


def hears_earlier(layer: int, n_layer: int) -> bool:
    """Whether a layer receives one: the L // 2 after them do, the last kept first; the last of an odd L does not."""
    return n_layer // 2 <= layer < n_layer // 2 * 2


class SkipConnection(nn.Module):
    """x <- x + scale * y at a layer's input, y the last output kept that none has taken; scale [C] starts at 1."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(n_embd))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """See the class."""
        nn.init.ones_(self.scale)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        """The stream x [B,T,C] with the kept one [B,T,C] in it."""
        return x + self.scale * kept
