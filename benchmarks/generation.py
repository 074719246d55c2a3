"""Seconds per generated token with carried state, against the published loop that reads the whole context again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.gate import relative_error, require
from benchmarks.published_camoe import PublishedCaMoE
from benchmarks.result import Result, at_least, at_most
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from benchmarks.whole_step import TINY
from benchmarks.workload import StepShape, build_model
from camoe.inference.generation import token_by_token
from camoe.inference.sampling import Sampling, next_token
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel

ROW = "generation"
CONTEXTS = (64, 256, 1024, 4096)
JUDGED = 1024  # context of the target
LARGEST_ERROR = 1e-4  # of float32 logits


def measure(session: Session) -> Iterator[Result]:
    """One row per context length, and how flat they are."""
    shape = session.pick(StepShape(), TINY)
    model = build_model(shape.config()).eval()
    gate = same_logits(model, context_of(shape, session.pick(64, 9)))
    contexts = session.pick(CONTEXTS, (8, 32))
    limit = weights_read_once(model)
    ours: dict[int, Sample] = {}
    for length in contexts:
        session.say(f"generation after {length} tokens")
        context = context_of(shape, length)
        carried = carried_token(model, context)
        contestants: dict[str, Contestant] = {
            "published": published_token(model, context),
            "ours": carried,
            "active weights read once": limit,
        }
        seconds = session.race(contestants, 1 if length > JUDGED else 3)
        ours[length] = session.race({"ours": carried})["ours"]
        yield Result(
            row=ROW,
            what=f"one token after a context of {length:,}, {shape}",
            value=seconds["published"].over(ours[length]),
            must=at_least(200) if length == JUDGED else None,
            limit=seconds["published"].over(seconds["active weights read once"]).median,
            figures={**seconds, "ours": ours[length]},
            gate=gate,
        )
    yield Result(
        row=ROW,
        what=f"growth of the time per token from a context of {contexts[0]:,} to {contexts[-1]:,}",
        value=ours[contexts[-1]].over(ours[contexts[0]]),
        must=at_most(1.2),
        limit=1.0,
        gate=gate,
    )


def carried_token(model: LanguageModel, context: Tensor) -> Contestant:
    """The next token after a context that has been read."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        logits, state = model(context)

    def token() -> Tensor:
        with token_by_token(model):
            chosen = next_token(logits[:, -1], Sampling(temperature=0.0), generator)
            return model(chosen[:, None], state)[0]

    return token


def published_token(model: LanguageModel, context: Tensor) -> Contestant:
    """The same, the published way."""
    published = PublishedCaMoE(model)
    return lambda: published.next_token(context)


def weights_read_once(model: LanguageModel) -> Contestant:
    """Reads as many float32 numbers as parameters serve one token."""
    numbers = torch.ones(model_cost(model).active_params)
    return numbers.sum


def same_logits(model: LanguageModel, context: Tensor) -> str:
    """Passes when the last of the context's tokens, read with carried state, gets the published logits."""
    with torch.no_grad():
        _, state = model(context[:, :-1])
        ours, _ = model(context[:, -1:], state)
        published = PublishedCaMoE(model).logits(context)[:, -1:]
    return require(relative_error(ours, published), LARGEST_ERROR, "logits")


def context_of(shape: StepShape, length: int) -> Tensor:
    """A random context [1,length]."""
    return torch.randint(1, shape.vocab, (1, length), generator=torch.Generator().manual_seed(0))
