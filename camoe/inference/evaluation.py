"""Bits per byte of held-out text: every target scored once, every byte counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from camoe.data.evaluation_windows import EvaluationWindows
from camoe.kernels.linear_cross_entropy import IGNORED
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.tracking.routing_statistics import RoutingStatistics


@dataclass(frozen=True)
class Evaluation:
    """nats: sum over all targets. text_bytes: UTF-8 bytes of exactly that text."""

    nats: float
    targets: int
    text_bytes: int
    routing: RoutingStatistics

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.targets

    @property
    def bits_per_byte(self) -> float:
        """nats / (ln 2 * bytes)."""
        return self.nats / (math.log(2) * self.text_bytes)

    def record(self, room: str) -> dict[str, object]:
        """Metrics under `room` ('valid' during training, 'final' at the end)."""
        return {
            f"{room}/loss": self.loss,
            f"{room}/ppl": math.exp(min(self.loss, 700.0)),
            f"{room}/bpb": self.bits_per_byte,
            f"{room}/bytes": self.text_bytes,
            **self.routing.held_out(room),
        }


@torch.no_grad()
def evaluate(
    model: LanguageModel, windows: EvaluationWindows, batch_size: int, statistics: RoutingStatistics
) -> Evaluation:
    """Score every window from an empty state, without router noise and with the market as the phase left it.

    Nothing of the model, its market or any random generator changes.
    """
    device = model.emb.weight.device
    nats = torch.zeros((), dtype=torch.float64, device=device)
    for tokens, inside in windows.batches(batch_size):
        batch, mask = torch.from_numpy(tokens).to(device), torch.from_numpy(inside).to(device)
        trace = RoutingTrace()
        hidden, _ = model.hidden(batch[:, :-1], trace=trace)
        targets = batch[:, 1:].masked_fill(~mask, IGNORED)
        _, loss = model.cross_entropy(hidden, targets)
        nats += loss.sum(dtype=torch.float64)
        statistics.add(trace.decision(), mask)
    return Evaluation(float(nats), windows.targets, windows.text_bytes, statistics)
