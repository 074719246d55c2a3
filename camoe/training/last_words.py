"""What a process that ends too early leaves to the others, so that they know why they cannot go on."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from camoe.config import ConfigError
from camoe.training.interruption import Interrupted

KEY, FIRST_ENDED = "ended early", "the first has ended"
FAREWELL, LAST_FAREWELL = timedelta(seconds=30), timedelta(seconds=5)
PAUSE = 0.02  # seconds between two looks at the store


class PeerLost(RuntimeError):
    """Another process of this run ended; the text is that process's own reason, where it could give one."""


class LastWords:
    """The first process that fails, or is stopped by a signal of its own, says so in the store that all of them see."""

    def __init__(self, store: dist.Store, rank: int) -> None:
        self.store, self.rank = store, rank

    def leave(self, error: BaseException) -> None:
        """Say why this process ends; only the first one's words count."""
        number = int(error.signal) if isinstance(error, Interrupted) else None
        refusal = isinstance(error, ConfigError)
        own = refusal or isinstance(error, PeerLost)
        reason = str(error) if own else f"rank {self.rank}: {type(error).__name__}: {error}"
        words = {"reason": reason, "signal": number, "refusal": refusal}
        with suppress(RuntimeError):  # the store goes with the process that holds it
            self.store.compare_set(KEY, "", json.dumps(words))

    def explain(self, error: BaseException) -> BaseException:
        """What to raise when communication failed: what ended another process, or that one vanished."""
        return self.heard() or PeerLost(f"another process of this run vanished ({' '.join(str(error).split())})")

    def heard(self) -> BaseException | None:
        """What ended another process, as far as one has said so: Interrupted, ConfigError, else PeerLost."""
        words = self._read()
        if words is None:
            return None
        if words["signal"] is not None:
            return Interrupted(words["signal"])
        return ConfigError(words["reason"]) if words["refusal"] else PeerLost(words["reason"])

    def part(self, count: int) -> None:
        """Leave in order, without waiting long for those that cannot.

        The others go once the first rank's files are as they will stay, for launchers kill all processes when one has
        ended; the first, which may hold the store, goes once they all know.
        """
        with suppress(RuntimeError):
            if self.rank:
                self.store.wait([FIRST_ENDED], FAREWELL)
                self.store.set(f"gone/{self.rank}", "")
            else:
                self.store.set(FIRST_ENDED, "")
                self.store.wait([f"gone/{rank}" for rank in range(1, count)], LAST_FAREWELL)

    def wait_for(self, key: str) -> str:
        """A value that another process is going to give, however long that takes; raises when a process ends before."""
        try:
            while not self.store.check([key]):
                if self.store.check([KEY]) and not self.store.check([key]):  # it may have ended after giving it
                    raise self.explain(RuntimeError(key))
                time.sleep(PAUSE)
            return self.store.get(key).decode()
        except PeerLost:
            raise
        except RuntimeError as error:
            raise self.explain(error) from error

    def _read(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.store.get(KEY)) if self.store.check([KEY]) else None
        except RuntimeError:
            return None
