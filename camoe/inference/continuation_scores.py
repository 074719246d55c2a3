"""Log-probabilities of continuations after their contexts: in batches, and a shared context is read once.

Nothing is ever cut off: the state of a recurrent model has no length. A row longer than `chunk_len` is read in pieces
of that length, each from the state that the one before it left.

A recurrent model reads from left to right, so that rows are padded on the right: what stands behind a row's end cannot
change it, and the state behind padding is thrown away. A state that is used comes from rows that end where it is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from camoe.kernels.linear_cross_entropy import chunk_rows
from camoe.model.language_model import LanguageModel
from camoe.model.precision import autocast
from camoe.model.recurrent_state import RecurrentState

Tokens = tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class ContinuationScore:
    """Of the n tokens of a continuation.

    log_probabilities: [n] float32, natural logarithms. likeliest: [n] bool, the model's first choice was this token.
    """

    log_probabilities: npt.NDArray[np.float32]
    likeliest: npt.NDArray[np.bool_]

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation, summed in float64."""
        return float(self.log_probabilities.sum(dtype=np.float64))


@dataclass(frozen=True)
class _Row:
    """`tokens` to read, of which the last `scored` are predicted, for the request `number`.

    `source` is the row of the state from which reading begins.
    """

    number: int
    tokens: Tokens
    scored: int
    source: int = 0


class ContinuationScorer:
    """Scores and states under one model.

    tokens_per_pass: at most so many tokens are read at once, padding included. chunk_len: of one row.
    """

    def __init__(self, model: LanguageModel, tokens_per_pass: int, chunk_len: int) -> None:
        self.model = model
        self._tokens_per_pass, self._chunk_len = tokens_per_pass, chunk_len

    @torch.no_grad()
    def score(
        self, pairs: Sequence[tuple[Tokens, Tokens]], advance: Callable[[int], None] = lambda _: None
    ) -> list[ContinuationScore]:
        """The score of each (context, continuation), in their order; a context has at least one token.

        `advance` hears how many more are done.
        """
        found = [ContinuationScore(np.zeros(0, np.float32), np.zeros(0, np.bool_))] * len(pairs)
        alone, choices = _by_context(pairs)
        for row, score in self._scores(alone, None):
            found[row.number] = score
            advance(1)
        contexts = list(choices)
        for numbers, state in self.states([context[:-1] for context in contexts]):
            rows = [
                _Row(number, contexts[context][-1:] + pairs[number][1], len(pairs[number][1]), place)
                for place, context in enumerate(numbers)
                for number in choices[contexts[context]]
            ]
            for row, score in self._scores(rows, state):
                found[row.number] = score
                advance(1)
        return found

    @torch.no_grad()
    def states(self, prefixes: Sequence[Tokens]) -> Iterator[tuple[list[int], RecurrentState]]:
        """The state after each prefix of at least one token: numbers of prefixes of one length, and theirs.

        Prefixes of several lengths are read side by side as far as the shortest, which is then done, and so on: no
        padding, and each is read once.
        """
        for batch in self._batches(range(len(prefixes)), lambda number: len(prefixes[number])):
            lengths = [len(prefixes[number]) for number in batch]
            begin, state = 0, None
            for end in sorted({*lengths, *range(self._chunk_len, lengths[0], self._chunk_len)}):
                reading, going_on = (sum(size >= least for size in lengths) for least in (end, end + 1))
                tokens = self._tensor([prefixes[number][begin:end] for number in batch[:reading]])
                _, state = self.model.hidden(tokens, first_rows(state, reading))
                if going_on < reading:
                    yield batch[going_on:reading], state.map(lambda kept, first=going_on: kept[first:])  # type: ignore[misc]
                begin = end

    def _scores(self, rows: Sequence[_Row], source: RecurrentState | None) -> Iterator[tuple[_Row, ContinuationScore]]:
        """Each row's score, the longest rows first."""
        for batch in self._batches(rows, lambda row: len(row.tokens)):
            state = source
            if source is not None:
                state = source.select(torch.tensor([row.source for row in batch], device=self.model.device))
            pieces: list[tuple[npt.NDArray[np.int64], Tensor, Tensor]] = []
            for begin in range(0, len(batch[0].tokens) - 1, self._chunk_len):
                reading = [row for row in batch if len(row.tokens) - 1 > begin]
                piece = self._tensor([row.tokens[begin : begin + self._chunk_len + 1] for row in reading])
                hidden, state = self.model.hidden(piece[:, :-1], first_rows(state, len(reading)))
                scored = _scored(reading, begin, piece.shape[1] - 1)
                places = torch.from_numpy(np.flatnonzero(scored)).to(piece.device)
                chosen = (hidden.flatten(0, 1)[places], piece[:, 1:].flatten()[places])
                pieces.append((np.nonzero(scored)[0], *self._of_targets(*chosen)))
            yield from _of_rows(batch, pieces)

    def _of_targets(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """[N] log-probability of each target [N] under hidden vectors [N,C], and whether it was the likeliest.

        Logits exist for a few targets at a time.
        """
        size = chunk_rows(self.model.head_factors(hidden[:1])[1].shape[0], hidden.device.type)
        log_probabilities, likeliest = (
            [hidden.new_zeros(0, dtype=torch.float32)],
            [targets.new_zeros(0, dtype=torch.bool)],
        )
        for some, wanted in zip(hidden.split(size), targets.split(size), strict=True):
            with autocast(self.model.precision, hidden.device.type):
                logits = self.model.logits(some)
            scores = torch.log_softmax(logits.float(), dim=-1)
            log_probabilities.append(scores.gather(-1, wanted[:, None])[:, 0])
            likeliest.append(scores.argmax(-1) == wanted)
        return torch.cat(log_probabilities), torch.cat(likeliest)

    def _batches(self, items: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
        """All of them, the longest first, as many at once as may be read in one pass."""
        waiting = sorted(items, key=length, reverse=True)
        while waiting:
            size = max(1, self._tokens_per_pass // min(max(length(waiting[0]), 1), self._chunk_len))
            yield waiting[:size]
            waiting = waiting[size:]

    def _tensor(self, rows: Sequence[Tokens]) -> Tensor:
        """[B,T] on the model's device, 0 behind the end of a shorter row."""
        longest = max(map(len, rows))
        return torch.tensor([row + (0,) * (longest - len(row)) for row in rows], device=self.model.device)


def first_rows(state: RecurrentState | None, count: int) -> RecurrentState | None:
    """The state of the first `count` sequences, those that go on."""
    return None if state is None else state.map(lambda tensor: tensor[:count])


def _by_context(pairs: Sequence[tuple[Tokens, Tokens]]) -> tuple[list[_Row], dict[Tokens, list[int]]]:
    """Rows to read from an empty state, and the requests of each context worth reading ahead of its continuations."""
    requests: dict[Tokens, list[int]] = defaultdict(list)
    for number, (context, _) in enumerate(pairs):
        requests[context].append(number)
    shared = {context: numbers for context, numbers in requests.items() if len(numbers) > 1 and len(context) > 1}
    alone = [
        _Row(number, context + continuation, len(continuation))
        for number, (context, continuation) in enumerate(pairs)
        if context not in shared
    ]
    return alone, shared


def _scored(rows: Sequence[_Row], begin: int, width: int) -> npt.NDArray[np.bool_]:
    """[B,width], whether what stands behind token `begin` + column of each row is a target to score."""
    ends = np.array([[len(row.tokens)] for row in rows])
    counts = np.array([[row.scored] for row in rows])
    places = np.arange(begin + 1, begin + 1 + width)
    return (places >= ends - counts) & (places < ends)


def _of_rows(
    batch: Sequence[_Row], pieces: Sequence[tuple[npt.NDArray[np.int64], Tensor, Tensor]]
) -> Iterator[tuple[_Row, ContinuationScore]]:
    """Pieces (row of each target, its log-probability, whether it was the likeliest) put together row by row."""
    owners = np.concatenate([np.zeros(0, np.int64), *(piece[0] for piece in pieces)])
    order = np.argsort(owners, kind="stable")
    values = torch.cat([torch.zeros(0), *(piece[1].cpu() for piece in pieces)]).numpy()[order]
    likeliest = torch.cat([torch.zeros(0, dtype=torch.bool), *(piece[2].cpu() for piece in pieces)]).numpy()[order]
    ends = np.cumsum([row.scored for row in batch])
    for row, end in zip(batch, ends, strict=True):
        yield row, ContinuationScore(values[end - row.scored : end], likeliest[end - row.scored : end])
