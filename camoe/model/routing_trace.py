"""What the mixtures of one forward pass decided, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from camoe.economy.critic import CriticOpinion
from camoe.model.stream import Stream
from camoe.routing.decision import RoutingDecision


@dataclass(frozen=True)
class LayerRouting:
    """One layer's decision and its critic's opinion of the same tokens (None where the economy has no critic)."""

    decision: RoutingDecision
    opinion: CriticOpinion | None


@dataclass(frozen=True)
class BlockInput:
    """What a layer receives from the one below."""

    layer: int
    stream: Stream

    def of_rows(self, rows: Tensor) -> BlockInput:
        """The same of sequences `rows` [S], cut off from the graph."""
        return BlockInput(self.layer, self.stream.of_rows(rows))


@dataclass
class RoutingTrace:
    """Filled by the language model outside of checkpointed code, so that recomputation never counts twice.

    audited_layer: the layer whose input is kept in `audited_input`, so that it can be run again from there.
    """

    layers: list[LayerRouting] = field(default_factory=list)
    audited_layer: int | None = None
    audited_input: BlockInput | None = None

    def enter(self, entry: BlockInput) -> None:
        """Keep the audited layer's input."""
        if entry.layer == self.audited_layer:
            self.audited_input = entry

    def watch_weights(self) -> None:
        """Keep the gradient of the mixture weights in the coming backward pass."""
        for layer in self.layers:
            if layer.decision.weights.requires_grad:
                layer.decision.weights.retain_grad()

    def weight_credit(self) -> Tensor:
        """-g dL/dg of every winner's mixture weight g, [L,B,T,K], after `watch_weights` and the backward pass."""
        weights = [layer.decision.weights for layer in self.layers]
        return torch.stack([torch.zeros_like(w) if w.grad is None else -w.detach() * w.grad for w in weights])

    def stacked(self, name: str) -> Tensor:
        """A field of every layer's decision stacked to [L,B,T,...]."""
        return torch.stack([getattr(layer.decision, name) for layer in self.layers])

    def active(self) -> Tensor | None:
        """[L,B,T,K] bool, which winners serve; None: all do."""
        return self._of_all_layers("active")

    def decision(self, *, detached: bool = True) -> RoutingDecision:
        """The decisions of all layers as one, with a leading [L]."""
        parts = {entry.name: self._of_all_layers(entry.name) for entry in fields(RoutingDecision)}
        if detached:
            parts = {name: None if part is None else part.detach() for name, part in parts.items()}
        return RoutingDecision(**parts)  # type: ignore[arg-type]

    def _of_all_layers(self, name: str) -> Tensor | None:
        return None if getattr(self.layers[0].decision, name) is None else self.stacked(name)

    def stacked_critic(self) -> tuple[Tensor, Tensor]:
        """Difficulty [L,B,T] and affinity [L,B,T,E] of a model whose layers have critics."""
        opinions = [layer.opinion for layer in self.layers if layer.opinion is not None]
        return torch.stack([o.difficulty for o in opinions]), torch.stack([o.affinity for o in opinions])
