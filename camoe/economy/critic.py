"""The critic of one layer: judges how hard a token is and which experts deserve it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from camoe.config.economy import CriticTraining
from camoe.kernels import one_token
from camoe.kernels.linear import Linear
from camoe.kernels.without_autocast import without_autocast

FEATURE_WIDTH, HEAD_WIDTH = 128, 64
LEAST_DIFFICULTY = 1e-3


class CriticOpinion(NamedTuple):
    """What the critic thinks of every token."""

    difficulty: Tensor
    """[B,T], nats above the baseline that it expects to lose, at least 1e-3; calibrated: z-score of the loss."""
    affinity: Tensor
    """[B,T,E], nats per token that it expects each expert to earn; long where positive, short where negative."""


class Critic(nn.Module):
    """A small network on the hidden vectors of one layer (economy A.8)."""

    def __init__(self, n_embd: int, n_expert: int, config: CriticTraining) -> None:
        super().__init__()
        self.detach_input, self.signed_difficulty = config.detach_input, config.signed_difficulty
        self.feature = nn.Sequential(Linear(n_embd, FEATURE_WIDTH), nn.LayerNorm(FEATURE_WIDTH), nn.GELU())
        self.difficulty_head = _head(1)
        self.affinity_head = _head(n_expert)
        parts = (self.feature, self.difficulty_head, self.affinity_head)
        self._layers = tuple(layer for part in parts for layer in part if not isinstance(layer, nn.GELU))

    def forward(self, h: Tensor) -> CriticOpinion:
        """Opinion on the hidden vectors h [B,T,C], which learn nothing from it unless `detach_input` is off.

        Computed in the parameters' own type, whatever autocast surrounds it.
        """
        if one_token.serves(h, self._layers[0].weight):  # type: ignore[arg-type]
            return self._of_one_token(h)
        with without_autocast(h.device.type):
            h = h.detach() if self.detach_input else h
            feature = self.feature(h.to(next(self.parameters()).dtype))
            difficulty = self.difficulty_head(feature).squeeze(-1)
            if not self.signed_difficulty:
                difficulty = F.softplus(difficulty) + LEAST_DIFFICULTY
            return CriticOpinion(difficulty, self.affinity_head(feature))

    def _of_one_token(self, h: Tensor) -> CriticOpinion:
        """`forward` of h [1,1,C] without gradients, in native code."""
        return CriticOpinion(*one_token.critic_token(h, self._layers, LEAST_DIFFICULTY, signed=self.signed_difficulty))


def _head(width: int) -> nn.Sequential:
    return nn.Sequential(Linear(FEATURE_WIDTH, HEAD_WIDTH), nn.GELU(), Linear(HEAD_WIDTH, width))
