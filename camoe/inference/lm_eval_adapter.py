"""A model as lm-evaluation-harness asks it: text in, log-probabilities or greedy text out. Needs camoe[lm_eval].

Every text begins behind a document separator, as in training. A context is never cut, however long it is: the model
reads all of it, in pieces of the training length with its state carried, and a context that several continuations
share is read once. Positions beyond the training length are read by the same recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from camoe.config import ConfigError
from camoe.data.tokenizer import SEPARATOR, Tokenizer
from camoe.inference.continuation_scores import ContinuationScorer, Tokens
from camoe.inference.greedy_continuation import greedy_continuations

LONGEST_ANSWER = 256  # tokens, where the task sets no max_gen_toks
Progress = Callable[[str, int, int], None]


class CamoeLM(LM):
    """`progress(what, more, of)` hears how many more of all requests of a kind are answered."""

    def __init__(
        self, scorer: ContinuationScorer, tokenizer: Tokenizer, progress: Progress = lambda _what, _more, _of: None
    ) -> None:
        super().__init__()
        self._scorer, self._tokenizer, self._progress = scorer, tokenizer, progress

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(log-probability, whether greedy decoding gives it) of each (context, continuation)."""
        scores = self._scorer.score(
            [self.encode_pair(*request.args) for request in requests],
            lambda more: self._progress("continuations", more, len(requests)),
        )
        return [(score.total, bool(score.likeliest.all())) for score in scores]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-probability of each whole text, read from its first to its last token under one state."""
        texts = [self.encode_pair("", *request.args) for request in requests]
        scores = self._scorer.score(texts, lambda more: self._progress("texts", more, len(requests)))
        return [score.total for score in scores]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The greedy continuation of each context up to its first stop, which is left out."""
        settings = [_Generation.of(request.args[1]) for request in requests]
        answers = [""] * len(requests)
        contexts = [self._prompt(request.args[0]) for request in requests]
        found = greedy_continuations(
            self._scorer,
            contexts,
            [setting.longest for setting in settings],
            lambda number, tokens: settings[number].is_over(self._tokenizer.decode(tokens)),
        )
        for number, tokens in found:
            answers[number] = settings[number].cut(self._tokenizer.decode(tokens))
            self._progress("answers", 1, len(requests))
        return answers

    def encode_pair(self, context: str, continuation: str) -> tuple[Tokens, Tokens]:
        """Token ids of both, which decode to exactly their bytes.

        White space that ends a context opens the continuation, as in the harness. They are encoded as one text and
        cut where the context ends; one by one where a token lies across the cut.
        """
        kept = context.rstrip()
        context, continuation = kept, context[len(kept) :] + continuation
        begun = self._tokenizer.encode(context)
        whole = self._tokenizer.encode(context + continuation)
        rest = whole[len(begun) :] if whole[: len(begun)] == begun else self._tokenizer.encode(continuation)
        return (SEPARATOR, *begun), tuple(rest)

    def _prompt(self, context: str) -> Tokens:
        return (SEPARATOR, *self._tokenizer.encode(context))


class _Generation:
    """When an answer is over."""

    def __init__(self, stops: Sequence[str], longest: int) -> None:
        self.longest = longest
        self._stops = [stop for stop in stops if stop]

    @classmethod
    def of(cls, settings: dict[str, Any]) -> _Generation:
        """From a task's generation_kwargs; ConfigError for sampling, since answers here are the likeliest ones."""
        if settings.get("do_sample"):
            raise ConfigError("evaluation.tasks: do_sample: true is not supported; answers are greedy")
        until = settings.get("until") or []
        return cls([until] if isinstance(until, str) else until, int(settings.get("max_gen_toks", LONGEST_ANSWER)))

    def is_over(self, text: str) -> bool:
        return any(stop in text for stop in self._stops)

    def cut(self, text: str) -> str:
        """The text before the first stop."""
        return text[: min((text.index(stop) for stop in self._stops if stop in text), default=len(text))]
