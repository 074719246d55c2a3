"""Sampling a continuation with carried state: no token is read twice, and without attention all cost the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camoe.model.language_model import LanguageModel

# Smaller ones could only overflow: here a lead of 0.01 in logits already means odds of e^100.
GREEDY_BELOW = 1e-4
FEW_WORDS = 256  # the first look at what top_p keeps


@dataclass(frozen=True)
class Sampling:
    """A temperature below 1e-4 takes the most likely token; top_p keeps the smallest set of tokens with that mass."""

    temperature: float = 0.8
    top_p: float = 0.9


def next_token(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token [B] from logits [B,V]."""
    if sampling.temperature < GREEDY_BELOW:
        return logits.argmax(-1)
    probability, words = torch.softmax(logits.float() / sampling.temperature, dim=-1), None
    if sampling.top_p < 1:
        probability, words = _likeliest(probability, sampling.top_p)
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


@contextmanager
def token_by_token(model: LanguageModel) -> Iterator[None]:
    """The fastest setting for single tokens: no gradients and, where all is float32, no oneDNN.

    Its GELU of one row takes three times as long as torch's own.
    """
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    onednn.enabled = before and model.precision != "fp32"
    try:
        with torch.inference_mode():
            yield
    finally:
        onednn.enabled = before


def generate(
    model: LanguageModel,
    prompt: list[int],
    n_tokens: int,
    sampling: Sampling,
    *,
    seed: int = 0,
    stop_at: int | None = None,
) -> list[int]:
    """Up to `n_tokens` ids that continue the prompt; ends before `stop_at` (the document separator)."""
    device = model.emb.weight.device
    generator = torch.Generator(device=device).manual_seed(seed)
    out: list[int] = []
    with token_by_token(model):
        logits, state = model(torch.tensor([prompt], device=device))
        for _ in range(n_tokens):
            token = next_token(logits[:, -1], sampling, generator)
            if (value := int(token)) == stop_at:
                break
            out.append(value)
            logits, state = model(token[:, None], state)
    return out
