"""A text that a model goes on with, turn by turn: what it has read is never read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camoe.data.tokenizer import SEPARATOR, Tokenizer
from camoe.inference.sampling import Sampling, TokensSoFar, next_token, penalised
from camoe.inference.token_routes import RouteRecord, TokenRoutes
from camoe.model.recurrent_state import RecurrentState
from camoe.model.routing_trace import RoutingTrace


@dataclass(frozen=True)
class Ending:
    """Where a continuation ends: at the token `separator`, not part of it, and after the bytes `text`, if any."""

    separator: int | None = None
    text: bytes = b""
    tokenizer: Tokenizer | None = None


@dataclass
class TextState:
    """One text. tokens: all of it, read and unread. state: after all but the `unread` last tokens, None before any."""

    tokens: list[int] = field(default_factory=list)
    state: RecurrentState | None = None
    unread: int = 0

    def add(self, tokens: Sequence[int]) -> None:
        """Tokens to be read next."""
        self.tokens.extend(tokens)
        self.unread += len(tokens)

    def to_read(self) -> list[int]:
        """The unread tokens, at least one."""
        return self.tokens[-self.unread :]


class Continuation:
    """A text that gets up to n_tokens more; `out` is what has been drawn."""

    def __init__(
        self, text: TextState, sampling: Sampling, generator: torch.Generator, ending: Ending, n_tokens: int
    ) -> None:
        self.text, self.sampling, self.generator, self.ending = text, sampling, generator, ending
        self.out: list[int] = []
        self.n_tokens, self.ended = n_tokens, n_tokens == 0
        self.so_far: TokensSoFar | None = None
        self.record = RouteRecord()
        self._tail = b""

    def draw(self, logits: Tensor) -> Tensor:
        """The next token [1] from logits [1,V]; the text goes on with it unless it has ended."""
        penalty = self.sampling.repetition_penalty
        if penalty != 1:
            self.so_far = self.so_far or self._tokens_so_far(logits)
            logits = penalised(logits, self.so_far.count, penalty)
        token = next_token(logits, self.sampling, self.generator)
        self._take(int(token))
        return token

    def _take(self, value: int) -> None:
        self.text.add([value])
        if value == self.ending.separator:  # not shown; what comes next in this text is another document
            self.ended = True
            return
        self.out.append(value)
        if self.so_far is not None:
            self.so_far.add(value)
        self.ended = len(self.out) == self.n_tokens or self._says_stop(value)

    def _says_stop(self, value: int) -> bool:
        stop = self.ending.text
        if not stop:
            return False
        assert self.ending.tokenizer is not None, "a text is found among bytes"
        seen = self._tail + self.ending.tokenizer.decode_bytes([value])
        self._tail = seen[-(len(stop) - 1) :] if len(stop) > 1 else b""
        return stop in seen

    def _tokens_so_far(self, logits: Tensor) -> TokensSoFar:
        said = [token for token in self.text.tokens if token != SEPARATOR]
        return TokensSoFar(said, self.sampling.repetition_window, logits.shape[-1], logits.device)

    def note(self, trace: RoutingTrace, row: int) -> None:
        """Keep a pass's decisions."""
        self.record.passes.append(TokenRoutes.of_row(trace, row))

    def routes(self) -> TokenRoutes:
        """Of the tokens that this continuation's first pass read, but its first, and of those drawn."""
        given = self.record.passes[0].price.shape[1]
        return self.record.routes().first(given - 1 + len(self.out))
