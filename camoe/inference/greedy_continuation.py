"""Greedy continuations of many contexts at once, each from the state behind its context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from camoe.data.tokenizer import SEPARATOR
from camoe.inference.continuation_scores import ContinuationScorer, Tokens
from camoe.model.recurrent_state import RecurrentState


@torch.no_grad()
def greedy_continuations(
    scorer: ContinuationScorer,
    contexts: Sequence[Tokens],
    longest: Sequence[int],
    is_over: Callable[[int, list[int]], bool],
) -> Iterator[tuple[int, list[int]]]:
    """(number of the context, tokens that continue it), in the order in which they are done.

    One ends before a separator, after `longest[number]` tokens, or when `is_over(number, tokens)`. A context has at
    least one token; its last one is the first that is read from the state behind all others.
    """
    begun = [number for number, context in enumerate(contexts) if len(context) > 1]
    for places, state in scorer.states([contexts[number][:-1] for number in begun]):
        yield from _continued(scorer, contexts, [begun[place] for place in places], state, longest, is_over)
    bare = [number for number, context in enumerate(contexts) if len(context) == 1]
    if bare:
        yield from _continued(scorer, contexts, bare, None, longest, is_over)


def _continued(
    scorer: ContinuationScorer,
    contexts: Sequence[Tokens],
    numbers: list[int],
    state: RecurrentState | None,
    longest: Sequence[int],
    is_over: Callable[[int, list[int]], bool],
) -> Iterator[tuple[int, list[int]]]:
    """Those of contexts whose states stand side by side; a row leaves the batch when it is done."""
    device = scorer.model.device
    tokens = {number: list[int]() for number in numbers}
    last = torch.tensor([contexts[number][-1] for number in numbers], device=device)
    while numbers:
        logits, state = scorer.model(last[:, None], state)
        last = logits[:, -1].argmax(-1)
        going_on = []
        for place, (number, token) in enumerate(zip(numbers, last.tolist(), strict=True)):
            if token != SEPARATOR:
                tokens[number].append(token)
            full = token == SEPARATOR or len(tokens[number]) >= longest[number]
            if full or is_over(number, tokens[number]):
                yield number, tokens[number]
            else:
                going_on.append(place)
        kept = torch.tensor(going_on, dtype=torch.int64, device=device)
        numbers, last, state = [numbers[place] for place in going_on], last[kept], state.select(kept)
