"""What the mixtures of one forward pass decided, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision


@dataclass(frozen=True)
class LayerRouting:
    """One layer's decision and its critic's opinion of the same tokens (None where the economy has no critic)."""

    decision: RoutingDecision
    opinion: CriticOpinion | None


@dataclass
class RoutingTrace:
    """Filled by the language model outside of checkpointed code, so that recomputation never counts twice."""

    layers: list[LayerRouting] = field(default_factory=list)

    def stacked(self, name: str) -> Tensor:
        """A field of every layer's decision stacked to [L,B,T,...]."""
        return torch.stack([getattr(layer.decision, name) for layer in self.layers])

    def decision(self) -> RoutingDecision:
        """The decisions of all layers as one, detached, with a leading [L]."""
        return RoutingDecision(**{entry.name: self.stacked(entry.name).detach() for entry in fields(RoutingDecision)})

    def stacked_critic(self) -> tuple[Tensor, Tensor]:
        """Difficulty [L,B,T] and affinity [L,B,T,E] of a model whose layers have critics."""
        opinions = [layer.opinion for layer in self.layers if layer.opinion is not None]
        return torch.stack([o.difficulty for o in opinions]), torch.stack([o.affinity for o in opinions])
