"""How probable a model finds answers: of dialogues, or of the better and the worse one of a pair."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from camoe.data.answer_rows import AnswerRows, Numbers
from camoe.kernels.linear_cross_entropy import IGNORED
from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.language_model import LanguageModel


@torch.no_grad()
def answer_log_probs(model: LanguageModel, rows: AnswerRows, batch_size: int, ranks: Ranks = ALONE) -> Tensor:
    """[I, rows per item] float64 on the CPU: the sum of log-probabilities (nats) of each row's learned targets.

    Elections are without noise, and the market is as the model has it; nothing of either changes. Ranks take turns at
    the batches of up to `batch_size` rows, and all get the same result.
    """
    per_item = rows.packed.rows_per_item
    found = torch.zeros(len(rows.items), per_item, dtype=torch.float64, device=model.device)
    batches = rows.batches(batch_size)
    own = batches[ranks.index :: ranks.count]
    for items in own:
        tokens, learned = (torch.from_numpy(part).to(model.device) for part in rows.read(items))
        hidden, _ = model.hidden(tokens[:, :-1])
        _, loss = model.cross_entropy(hidden, tokens[:, 1:].masked_fill(~learned, IGNORED))
        places = torch.from_numpy(np.searchsorted(rows.items, items)).to(model.device)
        found[places] = -loss.sum(1, dtype=torch.float64).view(-1, per_item)
    if len(own) < len(batches[:: ranks.count]):  # all ranks run as many forward passes
        model.hidden(torch.zeros(0, 1, dtype=torch.int64, device=model.device))
    (found,) = ranks.sum([found])
    return found.cpu()


@dataclass(frozen=True)
class AnswerScore:
    """nats: of all learned targets. targets: how many, ends of answers included. text_bytes: what they stand for."""

    nats: float
    targets: int
    text_bytes: int

    @classmethod
    def of(
        cls, model: LanguageModel, rows: AnswerRows, byte_lengths: Numbers, batch_size: int, ranks: Ranks = ALONE
    ) -> AnswerScore:
        """Score every answer of `rows`; `byte_lengths` [V] are the bytes that each id stands for."""
        nats = -float(answer_log_probs(model, rows, batch_size, ranks).sum())
        learned = rows.learned_tokens()
        return cls(nats, len(learned), int(byte_lengths[learned].sum()))

    def record(self, room: str) -> dict[str, object]:
        """Metrics under `room`; an answer's end is a target that stands for no byte."""
        return {
            f"{room}/loss": self.nats / self.targets,
            f"{room}/bpb": self.nats / (math.log(2) * self.text_bytes),
            f"{room}/bytes": self.text_bytes,
        }
