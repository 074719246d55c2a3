"""The tracker of a process that leaves all writing to another one of the same run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import State
from camoe.tracking.tracker import BEGINNING, Tracker


class Bystander(Tracker):
    """Has the records that the writing process has, and keeps none."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.sink = folder, None

    def start(self) -> None:
        """Nothing to start."""

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Written by the other process."""

    def book(self, step: int, record: Mapping[str, Any]) -> None:
        """Written by the other process."""

    def keep(self, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Written by the other process."""

    def state(self) -> dict[str, int]:
        """None of its own."""
        return BEGINNING

    def rewind(self, state: Mapping[str, int]) -> None:
        """Done by the other process."""

    def finish(self, state: State, reason: str = "") -> int:  # noqa: ARG002 (interface)
        """Done by the other process."""
        return 0
