"""The metrics of every counted run, arm by arm, read once for all plots of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.comparison import Comparison
from analysis.plots.arm_curves import Curve
from analysis.plots.style import Array
from analysis.run_history import NotRecorded, RunHistory
from camoe.tracking.run_folder import RunFolder

MOST = 300  # training windows of a run
EVALUATION = "valid/loss"


@dataclass(frozen=True)
class ArmHistories:
    """of: arm -> histories of its counted runs, in the comparison's order of arms; an arm without any has []."""

    of: dict[str, list[RunHistory]]

    @classmethod
    def read(cls, found: Comparison) -> ArmHistories:
        """From the folders of the runs."""
        counted = found.runs[found.runs["counted"].astype(bool)]
        folders = {arm: list(counted.loc[counted["arm"] == arm, "folder"]) for arm in found.arms.index}
        return cls(
            {
                str(arm): [RunHistory.read(RunFolder(folder).metrics_file, MOST) for folder in own]
                for arm, own in folders.items()
            }
        )

    def losses_over(self, budget: str) -> dict[str, list[Curve]]:
        """Held-out loss over a sum since the start, as progress/train_flops; NotRecorded where no run has both."""
        return self._curves(lambda history: _loss_over(history, budget))

    def windows(self, name: str) -> dict[str, list[Curve]]:
        """A scalar of training windows over tokens."""
        return self._curves(lambda history: history.series(name))

    def last(self, name: str) -> dict[str, Array]:
        """arm -> [S,...], the newest value of every run that has it, runs of another shape than the last left out."""
        found = {}
        for arm, histories in self.of.items():
            own = [np.asarray(value, float) for history in histories if (value := history.last(name)) is not None]
            if own:
                found[arm] = np.stack([value for value in own if value.shape == own[-1].shape])
        return found

    def _curves(self, curve_of: Callable[[RunHistory], Curve]) -> dict[str, list[Curve]]:
        curves: dict[str, list[Curve]] = {}
        reason = NotRecorded("no run has finished")
        for arm, histories in self.of.items():
            for history in histories:
                try:
                    curves.setdefault(arm, []).append(curve_of(history))
                except NotRecorded as absent:
                    reason = absent
        if not any(len(places) > 1 for own in curves.values() for places, _ in own):
            raise reason
        return curves


def _loss_over(history: RunHistory, budget: str) -> Curve:
    _, loss = history.series(EVALUATION)
    return history.spent(budget, [record["step"] for record in history.evaluations if EVALUATION in record]), loss
