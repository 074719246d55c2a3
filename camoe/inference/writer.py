"""Prompts in, texts out: a model with its tokenizer and the settings of group `job` that say how it writes."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from camoe.config.job import JobConfig
from camoe.data.chat_template import question
from camoe.data.tokenizer import SEPARATOR, Tokenizer
from camoe.inference.continuation import Continuation, Ending, TextState
from camoe.inference.generation import continue_texts
from camoe.inference.sampling import Sampling
from camoe.inference.token_routes import TokenRoutes
from camoe.kernels.matmul_precision import matmul_precision
from camoe.model.language_model import LanguageModel
from camoe.model.precision import computing_in


@dataclass(frozen=True)
class Written:
    """A prompt and its continuation. spans: the characters of each of their tokens. n_drawn: how many were drawn.

    routes: of the same tokens, None where nobody asked.
    """

    prompt: str
    continuation: str
    spans: list[str]
    n_drawn: int
    routes: TokenRoutes | None

    @property
    def text(self) -> str:
        """Both."""
        return self.prompt + self.continuation


class Writer:
    """Continues texts; the i-th text of a call draws with a generator of its own, seeded with seed + i."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, job: JobConfig, seed: int) -> None:
        self.model, self.tokenizer, self.job, self.seed = model, tokenizer, job, seed
        self._sampling = Sampling(job.temperature, job.top_p, job.top_k, job.repetition_penalty, job.repetition_window)
        self._ending = Ending(SEPARATOR, job.stop.encode(), tokenizer)

    def go_on(self, texts: Sequence[TextState], prompts: Sequence[str], *, traced: bool) -> list[Written]:
        """Adds a prompt to each text and continues it; a text that is empty so far starts a document.

        With job.chat a prompt is a question, and what is written of it is the template's.
        """
        prompts = [question(prompt) for prompt in prompts] if self.job.chat else prompts
        continuations, given = [], []
        for number, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
            tokens = [*self._end_of_answer(text), *self.tokenizer.encode(prompt)]
            text.add(tokens if text.tokens else [SEPARATOR, *tokens])
            generator = torch.Generator(device=self.model.device).manual_seed(self.seed + number)
            continuations.append(Continuation(text, self._sampling, generator, self._ending, self.job.sample_tokens))
            given.append(tokens)
        # Token by token anything else is slower: other precisions pay for one-row products, bf16 for casting weights.
        with matmul_precision("highest"), computing_in("fp32", self.model):
            continue_texts(self.model, continuations, traced=traced)
        return [self._written(*one) for one in zip(prompts, given, continuations, strict=True)]

    def _end_of_answer(self, text: TextState) -> list[int]:
        """The separator that stands before a further question, where the answer before it was broken off."""
        return [SEPARATOR] if self.job.chat and text.tokens and text.tokens[-1] != SEPARATOR else []

    def _written(self, prompt: str, given: list[int], one: Continuation) -> Written:
        out = self._until_stop(one.out)
        spans = _spans([*(self.tokenizer.decode_bytes([token]) for token in given), *out])
        routes = one.routes().first(len(spans)) if one.record.passes else None
        return Written(prompt, b"".join(out).decode(errors="replace"), spans, len(out), routes)

    def _until_stop(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes of each token, without the text that ends a continuation."""
        pieces = [self.tokenizer.decode_bytes([token]) for token in tokens]
        stop = self._ending.text
        left = b"".join(pieces).find(stop) if stop else -1
        if left < 0:
            return pieces
        kept = []
        for piece in pieces:
            kept.append(piece[:left])
            left -= len(kept[-1])
            if not left:
                break
        return kept


def _spans(pieces: Iterable[bytes]) -> list[str]:
    """The characters of each piece of a text; one whose bytes lie in several belongs to the last of them."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    spans = [decoder.decode(piece) for piece in pieces]
    if rest := decoder.decode(b"", final=True):
        spans[-1] += rest
    return spans
