"""What each step reads: every data profile has a loader of its own, which goes on where its last phase left it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from camoe.data.step_rows import StepRows
from camoe.data.stream_hash import DIGEST_BYTES
from camoe.training.phases import PhaseSchedule


class Loader(Protocol):
    """Rows that are a pure function of (seed, step)."""

    def rows_of(self, step: int) -> StepRows: ...
    def stream_hash(self, step: int) -> str: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class StepReader:
    """The rows of any step of the schedule, a pure function of the step."""

    def __init__(self, schedule: PhaseSchedule, loaders: Mapping[str, Loader]) -> None:
        """`loaders` by data profile, at least those of the schedule's phases."""
        self._schedule = schedule
        self.loaders = {profile: loaders[profile] for profile in schedule.profiles}
        self._kept: tuple[int, StepRows] | None = None  # the last step's, which is asked for more than once

    def rows_of(self, step: int) -> StepRows:
        """The rows of one optimiser step."""
        if self._kept is None or self._kept[0] != step:
            profile = self._schedule.at(step).config.data_profile
            self._kept = step, self.loaders[profile].rows_of(self._schedule.steps_on(profile, step))
        return self._kept[1]

    def keep(self, step: int, tokens: npt.NDArray[np.int64]) -> None:
        """Have `tokens` [G,T+1] read at this step, in place of its own."""
        self._kept = step, replace(self.rows_of(step), tokens=tokens)

    def stream_hash(self, step: int) -> str:
        """Hash of what all steps before `step` have read: the loader's own where there is one, else of all of them."""
        digests = [loader.stream_hash(self._schedule.steps_on(name, step)) for name, loader in self.loaders.items()]
        if len(digests) == 1:
            return digests[0]
        return hashlib.blake2b(" ".join(digests).encode(), digest_size=DIGEST_BYTES).hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """The running hashes."""
        return {name: loader.state_dict() for name, loader in self.loaders.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name, loader in self.loaders.items():
            loader.load_state_dict(state[name])
