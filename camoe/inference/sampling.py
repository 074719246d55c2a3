"""Choosing the next token from logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Smaller ones could only overflow: here a lead of 0.01 in logits already means odds of e^100.
GREEDY_BELOW = 1e-4
FEW_WORDS = 256  # the first look at what top_p keeps


@dataclass(frozen=True)
class Sampling:
    """A temperature below 1e-4 takes the most likely token.

    top_k keeps the likeliest k tokens, of equals some (0: all), and top_p of these the smallest set with that mass.
    repetition_penalty: as in `penalised`, of the last `repetition_window` tokens (0: of all so far).
    """

    temperature: float = 0.8
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.0
    repetition_window: int = 0


class TokensSoFar:
    """How often each token is among the last `window` of a text, or in all of it where the window is 0."""

    def __init__(self, tokens: Sequence[int], window: int, vocab_size: int, device: torch.device) -> None:
        self._window, self._recent = window, list(tokens[-window:])
        recent = torch.tensor(self._recent, dtype=torch.int64, device=device)
        self.count = torch.bincount(recent, minlength=vocab_size)  # [V]

    def add(self, token: int) -> None:
        """One more token of the text; the oldest leaves a full window."""
        self._recent.append(token)
        self.count[token] += 1
        if self._window and len(self._recent) > self._window:
            self.count[self._recent.pop(0)] -= 1


def penalised(logits: Tensor, count: Tensor, penalty: float) -> Tensor:
    """Logits [...,V] with those of tokens so far (count [V] above 0) divided by the penalty.

    Keskar et al. 2019 (CTRL), section 4.1. A negative logit is multiplied: divided, it would become likelier.
    """
    less = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(count > 0, less, logits)


def next_token(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token [B] from logits [B,V], which carry their penalty already."""
    if sampling.temperature < GREEDY_BELOW:
        return logits.argmax(-1)
    logits, words = logits.float(), None
    if 0 < sampling.top_k < logits.shape[-1]:
        logits, words = logits.topk(sampling.top_k, dim=-1)
    probability = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        probability, places = _likeliest(probability, sampling.top_p)
        words = places if words is None else words.gather(-1, places)
        mass_before = probability.cumsum(-1) - probability
        probability = probability.masked_fill(mass_before >= sampling.top_p, 0)
    drawn = torch.multinomial(probability, 1, generator=generator)
    return (drawn if words is None else words.gather(-1, drawn)).squeeze(-1)


def _likeliest(probability: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """The likeliest words of probability [B,V] in falling order, enough of them to hold this mass, and their ids.

    Sorting 65,536 words costs as much as the rest of a small model's token, and a few usually hold the mass.
    """
    n_words = FEW_WORDS
    while n_words < probability.shape[-1]:
        found = probability.topk(n_words, dim=-1)
        if bool((found.values.sum(-1) >= mass).all()):
            return found.values, found.indices
        n_words *= 16
    return probability.sort(dim=-1, descending=True)
