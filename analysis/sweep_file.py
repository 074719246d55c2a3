"""sweep.json read for judging: the runs that were to be, and the plan that was registered before the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from camoe.config.analysis import AnalysisConfig
from camoe.config.refusal import no_such_setting
from camoe.config.value_check import check_value
from camoe.sweeping.plan import FILE, SweepPlan, sweep_folder


@dataclass(frozen=True)
class RegisteredSweep:
    """A sweep's folder, what was planned to run, and how it was to be judged."""

    folder: Path
    planned: SweepPlan
    analysis: AnalysisConfig

    @property
    def arms(self) -> list[str]:
        """Labels in the order of the sweep."""
        return list(dict.fromkeys(run.arm for run in self.planned.arms))


def read_sweep(name: str, output_dir: str | Path = "outputs") -> RegisteredSweep:
    """The sweep of this name; ConfigError with the nearest match when there is none, or its file is broken."""
    folder = sweep_folder(output_dir, name)
    planned = SweepPlan.load(folder)
    return RegisteredSweep(folder, planned, analysis_of(planned.analysis, str(folder / FILE)))


def analysis_of(values: Mapping[str, Any], where: str) -> AnalysisConfig:
    """A plan read back; a setting that is missing takes its default. `where` names the file in refusals."""
    known = {definition.name: definition for definition in fields(AnalysisConfig)}
    for name, value in values.items():
        if name not in known:
            raise no_such_setting(f"{where}: analysis.{name}", known)
        check_value(f"{where}: analysis.{name}", known[name], value)
    return AnalysisConfig(**values)
