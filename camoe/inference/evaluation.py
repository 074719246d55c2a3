"""Bits per byte of held-out text: every target scored once, every byte counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camoe.data.evaluation_windows import EvaluationWindows
from camoe.kernels.linear_cross_entropy import IGNORED
from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.tracking.routing_statistics import RoutingStatistics


@dataclass(frozen=True)
class Evaluation:
    """Of the N targets of some windows, in the order of the text.

    nats: sum over all targets. token_nats: [N] float32. winners: [L,N,K] int8, who served them; None where not kept.
    """

    windows: EvaluationWindows
    nats: float
    token_nats: npt.NDArray[np.float32]
    routing: RoutingStatistics
    winners: npt.NDArray[np.int8] | None = None

    @property
    def targets(self) -> int:
        """N."""
        return self.windows.targets

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of exactly the text that was scored."""
        return self.windows.text_bytes

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
    model: LanguageModel,
    windows: EvaluationWindows,
    batch_size: int,
    statistics: RoutingStatistics,
    ranks: Ranks = ALONE,
    *,
    keep_winners: bool = False,
) -> Evaluation:
    """Score every window from an empty state, without router noise and with the market as the phase left it.

    Ranks take turns at the batches, and all get the same result.
    Nothing of the model, its market or any random generator changes.
    """
    device = model.emb.weight.device
    nats = torch.zeros((), dtype=torch.float64, device=device)
    token_nats = torch.zeros(len(windows), windows.ctx_len, device=device)
    winners = _no_winners(model, windows) if keep_winners else None
    for number, (tokens, inside) in enumerate(windows.batches(batch_size, ranks.index, ranks.count)):
        batch, mask = torch.from_numpy(tokens).to(device), torch.from_numpy(inside).to(device)
        trace = RoutingTrace()
        hidden, _ = model.hidden(batch[:, :-1], trace=trace)
        targets = batch[:, 1:].masked_fill(~mask, IGNORED)
        _, loss = model.cross_entropy(hidden, targets)
        nats += loss.sum(dtype=torch.float64)
        start = (ranks.index + number * ranks.count) * batch_size
        here, routing = slice(start, start + len(batch)), trace.decision()  # empty for a batch of padding alone
        token_nats[here] = loss
        if winners is not None:
            winners[:, here] = routing.experts.to(winners.dtype)
        statistics.add(routing, mask)
    nats, token_nats = ranks.sum([nats, token_nats])
    winners = None if winners is None else ranks.sum([winners])[0]
    statistics.sum_over(ranks)
    whole = token_nats.flatten()[: windows.targets]  # only the last window of a text ends early
    served = None if winners is None else winners.flatten(1, 2)[:, : windows.targets].cpu().numpy()
    return Evaluation(windows, float(nats), whole.cpu().numpy(), statistics, served)


def _no_winners(model: LanguageModel, windows: EvaluationWindows) -> Tensor:
    """Room for [L,windows,T,K]."""
    config = model.config
    fits = torch.int8 if config.experts.total <= 128 else torch.int16
    shape = (config.model.n_layer, len(windows), windows.ctx_len, config.router.top_k)
    return torch.zeros(shape, dtype=fits, device=model.device)
