"""Sampling a continuation with carried state: each token costs the same, however long the context."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.model.language_model import LanguageModel

# Smaller ones could only overflow: here a lead of 0.01 in logits already means odds of e^100.
GREEDY_BELOW = 1e-4


@dataclass(frozen=True)
class Sampling:
    """A temperature below 1e-4 takes the most likely token; top_p keeps the smallest set of tokens with that mass."""

    temperature: float = 0.8
    top_p: float = 0.9


def next_token(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token [B] from logits [B,V]."""
    if sampling.temperature < GREEDY_BELOW:
        return logits.argmax(-1)
    probability, order = torch.softmax(logits.float() / sampling.temperature, dim=-1).sort(dim=-1, descending=True)
    mass_before = probability.cumsum(-1) - probability
    kept = probability.masked_fill(mass_before >= sampling.top_p, 0)
    return order.gather(-1, torch.multinomial(kept, 1, generator=generator)).squeeze(-1)


@torch.no_grad()
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
    logits, state = model(torch.tensor([prompt], device=device))
    out: list[int] = []
    for _ in range(n_tokens):
        token = next_token(logits[:, -1], sampling, generator)
        if (value := int(token)) == stop_at:
            break
        out.append(value)
        logits, state = model(token[:, None], state)
    return out
