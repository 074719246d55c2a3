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
from camoe.model.recurrent_state import RecurrentState
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.decision import RoutingDecision
from camoe.tracking.routing_statistics import RoutingStatistics

PADDING = np.zeros(0, dtype=np.int64)  # the share of a rank for which no windows are left


@dataclass(frozen=True)
class Evaluation:
    """Of the N targets of some windows, in the order of the text.

    nats: sum over all targets. token_nats: [N] float32. winners: [L,N,K] int8, who served them, -1 where fewer than
    K did; None where not kept.
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
    """Score every window, without router noise and with the market as the phase left it.

    A window begins with an empty state, or with that of the window before it (EvaluationWindows.fresh).
    Ranks take turns at the groups of batches, and all get the same result.
    Nothing of the model, its market or any random generator changes.
    """
    device = model.device
    nats = torch.zeros((), dtype=torch.float64, device=device)
    token_nats = torch.zeros(windows.targets, device=device)
    winners: Tensor | None = None
    for group in _share(windows.groups(batch_size), ranks):
        state: RecurrentState | None = None
        for rows in group:
            tokens, scored = windows.read(rows)
            batch, mask = torch.from_numpy(tokens).to(device), torch.from_numpy(scored).to(device)
            trace = RoutingTrace()
            hidden, state = model.hidden(batch[:, :-1], _of_first_rows(state, len(rows)), trace=trace)
            _, loss = model.cross_entropy(hidden, batch[:, 1:].masked_fill(~mask, IGNORED))
            nats += loss.sum(dtype=torch.float64)
            places = torch.from_numpy(np.flatnonzero(scored)).to(device)
            numbers = torch.from_numpy(windows.target_numbers(rows)).to(device)
            token_nats[numbers] = loss.flatten()[places]
            routing = trace.decision()
            if keep_winners:
                serving = _serving(routing)
                winners = _room_for(serving, windows.targets) if winners is None else winners
                winners[:, numbers] = serving[:, places]
            statistics.add(routing, mask)
    nats, token_nats = ranks.sum([nats, token_nats])
    winners = None if winners is None else ranks.sum([winners])[0]
    statistics.sum_over(ranks)
    served = None if winners is None else winners.cpu().numpy()
    return Evaluation(windows, float(nats), token_nats.cpu().numpy(), statistics, served)


def _share(groups: list[list[npt.NDArray[np.int64]]], ranks: Ranks) -> list[list[npt.NDArray[np.int64]]]:
    """This rank's groups; with nothing to read at the end, so that all ranks run as many forward passes."""
    passes = [sum(map(len, groups[rank :: ranks.count])) for rank in range(ranks.count)]
    return [*groups[ranks.index :: ranks.count], *[[PADDING]] * (max(passes) - passes[ranks.index])]


def _of_first_rows(state: RecurrentState | None, count: int) -> RecurrentState | None:
    """The state of the `count` sequences whose text goes on."""
    return None if state is None else state.map(lambda tensor: tensor[:count])


def _serving(routing: RoutingDecision) -> Tensor:
    """[L,N,K] winners of a batch's N tokens in the smallest type that holds them, -1 where none serves."""
    fits = torch.int8 if routing.gate_logits.shape[-1] <= 128 else torch.int16
    experts = routing.experts if routing.active is None else routing.experts.masked_fill(~routing.active, -1)
    return experts.flatten(1, 2).to(fits)


def _room_for(serving: Tensor, targets: int) -> Tensor:
    """Zeros [L,N,K] for all targets, of the type of one batch's winners."""
    return serving.new_zeros(serving.shape[0], targets, serving.shape[2])
