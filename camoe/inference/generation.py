"""Continuing texts with carried state: no token is read twice, and without attention all cost the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from camoe.inference.continuation import Continuation, Ending, TextState
from camoe.inference.sampling import Sampling
from camoe.model.language_model import LanguageModel
from camoe.model.recurrent_state import RecurrentState
from camoe.model.routing_trace import RoutingTrace
from camoe.model.state_tensors import joined


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
    text = TextState()
    text.add(prompt)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    one = Continuation(text, sampling, generator, Ending(stop_at), n_tokens)
    continue_texts(model, [one])
    return one.out


def continue_texts(model: LanguageModel, texts: Sequence[Continuation], *, traced: bool = False) -> None:
    """Continues every text to its own end, as it would alone; every text has something unread.

    Texts of any length go on as one batch where the memory of each has the same size, otherwise those of one length
    do. traced: keep the decisions of every pass.
    """
    live = [text for text in texts if not text.ended]
    grows = bool(model.config.model.attention_layers) or model.config.model.deep_embed_attention
    with token_by_token(model):
        if grows:
            for _, same in groupby(sorted(live, key=_length), key=_length):
                _continue_together(model, list(same), traced)
        elif live:
            _continue_together(model, live, traced)


def _length(one: Continuation) -> int:
    return len(one.text.tokens)


def _continue_together(model: LanguageModel, live: list[Continuation], traced: bool) -> None:
    logits, state = _read(model, live, traced)
    while True:
        drawn = [one.draw(logits[row : row + 1]) for row, one in enumerate(live)]
        if any(one.ended for one in live):
            _keep(live, state)
            going_on = [row for row, one in enumerate(live) if not one.ended]
            if not going_on:
                return
            live, drawn = [live[row] for row in going_on], [drawn[row] for row in going_on]
            state = state.select(torch.tensor(going_on, device=logits.device))
        tokens = drawn[0] if len(drawn) == 1 else torch.cat(drawn)
        logits, state = _pass(model, tokens[:, None], state, live, traced)
        for one in live:
            one.text.unread = 0


def _keep(live: Sequence[Continuation], state: RecurrentState) -> None:
    """Give the texts that have ended their rows of the state."""
    for row, one in enumerate(live):
        if one.ended:
            one.text.state = (
                state if len(live) == 1 else state.select(torch.tensor([row], device=state.tokens_read.device))
            )


def _read(model: LanguageModel, live: list[Continuation], traced: bool) -> tuple[Tensor, RecurrentState]:
    """Reads what each has not read yet, row by row, for padding would enter the state; last logits [B,V], state."""
    logits, states = [], []
    for one in live:
        tokens = torch.tensor([one.text.to_read()], device=model.device)
        last, state = _pass(model, tokens, one.text.state, [one], traced)
        one.text.unread = 0
        logits.append(last)
        states.append(state)
    return torch.cat(logits), states[0] if len(states) == 1 else joined(states)


def _pass(
    model: LanguageModel, tokens: Tensor, state: RecurrentState | None, live: Sequence[Continuation], traced: bool
) -> tuple[Tensor, RecurrentState]:
    """Logits [B,V] after the last of tokens [B,T], and the state."""
    trace = RoutingTrace() if traced else None
    logits, state = model(tokens, state, trace=trace)
    if trace is not None:
        for row, one in enumerate(live):
            one.note(trace, row)
    return logits[:, -1], state
