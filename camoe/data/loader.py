"""Training sequences in a random order that is a pure function of (seed, position)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from camoe.config import ConfigError
from camoe.data.step_rows import StepRows
from camoe.data.stream_hash import StreamHash


class BatchLoader:
    """Windows of T+1 tokens that overlap by one, so that each token inside an epoch's range is a target once.

    An epoch visits every window once, in an order of its own, and starts its windows at an offset of its own, so that
    no token is always the first of its window. Sequence i of the run does not depend on how many sequences make a step
    or a micro-batch: step s holds sequences s*G .. s*G+G-1. The position is the two integers (seed, step).
    """

    def __init__(self, tokens: npt.NDArray[Any], ctx_len: int, sequences_per_step: int, seed: int) -> None:
        """`tokens` [N], `ctx_len` T, `sequences_per_step` G (micro-batches x accumulation x ranks)."""
        if len(tokens) < ctx_len + 1:
            raise ConfigError(
                f"train.ctx_len: {ctx_len} needs {ctx_len + 1} training tokens, the text has {len(tokens)}; "
                "give more text or a shorter context"
            )
        self.tokens = tokens
        self.ctx_len = ctx_len
        self.sequences_per_step = sequences_per_step
        self.seed = seed
        # the number that fits at every offset below T, so that all epochs are equally long
        self.windows_per_epoch = max(1, (len(tokens) - ctx_len) // ctx_len)
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._offset = 0
        self._hash = StreamHash()

    def window(self, step: int) -> npt.NDArray[np.int64]:
        """The sequences of one optimiser step, [G, T+1] int64: inputs are [:, :-1], targets [:, 1:]."""
        first = step * self.sequences_per_step
        return np.stack([self._sequence(first + i) for i in range(self.sequences_per_step)])

    def rows_of(self, step: int) -> StepRows:
        """The same for a trainer."""
        return StepRows(self.window(step))

    def stream_hash(self, step: int) -> str:
        """Hash of the sequences of all steps before `step`; two runs that read the same text so far have the same.

        Costs what the steps since the last call cost; a smaller step than last time starts from the beginning.
        """
        position = step * self.sequences_per_step
        if position < self._hash.sequences:
            self._hash = StreamHash()
        for sequence in range(self._hash.sequences, position):
            self._hash.add(self._sequence(sequence))
        return self._hash.digest

    def state_dict(self) -> dict[str, Any]:
        """The running hash, so that a resumed run need not read again what it has already read."""
        return self._hash.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._hash = StreamHash.from_state_dict(state)

    def _sequence(self, index: int) -> npt.NDArray[np.int64]:
        epoch, place = divmod(index, self.windows_per_epoch)
        if epoch != self._epoch:
            self._start_epoch(epoch)
        start = self._offset + int(self._order[place]) * self.ctx_len
        return self.tokens[start : start + self.ctx_len + 1].astype(np.int64)

    def _start_epoch(self, epoch: int) -> None:
        """Draw the order and the offset; kept until another epoch is asked for, results never depend on it."""
        generator = np.random.default_rng([self.seed, epoch])
        slack = len(self.tokens) - 1 - self.windows_per_epoch * self.ctx_len
        self._offset = int(generator.integers(0, min(slack, self.ctx_len - 1) + 1))
        self._order = generator.permutation(self.windows_per_epoch)
        self._epoch = epoch
