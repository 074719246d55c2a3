"""sweep.json: the arms that a sweep was to run and the plan by which it is judged, written before the first job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from camoe.config.refusal import no_such_setting, not_an_option
from camoe.config.value_check import check_value
from camoe.tracking.atomic_file import read_json

FILE = "sweep.json"


@dataclass(frozen=True)
class PlannedRun:
    """One job of a sweep; its run folder is known by the signature."""

    arm: str
    seed: int | None
    overrides: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class Sweep:
    """What was registered before the sweep began."""

    name: str
    folder: Path
    command: str
    created: str
    plan: AnalysisConfig
    parent_run_id: str | None
    runs: tuple[PlannedRun, ...]

    @property
    def arms(self) -> list[str]:
        """Labels in the order of the sweep file."""
        return list(dict.fromkeys(run.arm for run in self.runs))


def read_sweep(name: str, output_dir: str | Path = "outputs") -> Sweep:
    """The sweep of this name; ConfigError with the nearest match when there is none, or its file is broken."""
    root = Path(output_dir) / "sweeps"
    file = root / name / FILE
    if not file.is_file():
        known = sorted(path.parent.name for path in root.glob(f"*/{FILE}"))
        if not known:
            raise ConfigError(f"--sweep: no sweep '{name}'; {root} holds none, run one with python run.py -m")
        raise not_an_option("--sweep", name, known, noun="sweep")
    try:
        return _sweep(file, read_json(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file}: not the file of a sweep ({type(error).__name__}: {error})") from error


def plan_of(values: Mapping[str, Any], where: str) -> AnalysisConfig:
    """A plan read back; a setting that is missing takes its default. `where` names the file in refusals."""
    known = {definition.name: definition for definition in fields(AnalysisConfig)}
    for name, value in values.items():
        if name not in known:
            raise no_such_setting(f"{where}: analysis.{name}", known)
        check_value(f"{where}: analysis.{name}", known[name], value)
    return AnalysisConfig(**values)


def _sweep(file: Path, content: Mapping[str, Any]) -> Sweep:
    return Sweep(
        name=content["sweep"],
        folder=file.parent.resolve(),
        command=content.get("command", ""),
        created=content.get("created", ""),
        plan=plan_of(content.get("analysis") or {}, str(file)),
        parent_run_id=content.get("parent_run_id"),
        runs=tuple(
            PlannedRun(run["arm"], run.get("seed"), tuple(run.get("overrides", ())), run["signature"])
            for run in content["arms"]
        ),
    )
