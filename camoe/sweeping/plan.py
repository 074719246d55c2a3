"""sweep.json: which runs a sweep is made of, written before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camoe.config.refusal import ConfigError, check_name, nearest
from camoe.tracking.atomic_file import read_json, write_json

FILE = "sweep.json"


@dataclass(frozen=True)
class PlannedArm:
    """One run: its arm, its seed, what sets it apart, and the signature by which its folder is found.

    seed: the three seeds as init/data/router_noise where they are not one number.
    """

    arm: str
    seed: int | str
    overrides: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class SweepPlan:
    """Content of sweep.json. `parent_run_id` is the parent's id in MLflow, `analysis` what was registered before."""

    sweep: str
    command: str
    created: str
    arms: tuple[PlannedArm, ...]
    analysis: Mapping[str, Any]
    parent_run_id: str | None = None

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> SweepPlan:
        """Read it back; ConfigError when it is not there, with the nearest name that is."""
        if not (folder / FILE).is_file():
            known = [found.parent.name for found in folder.parent.glob(f"*/{FILE}")]
            near = nearest(folder.name, known)
            others = f"known in {folder.parent}: {', '.join(sorted(known)) or 'none'}"
            hint = f"did you mean {near}?" if near else others
            raise ConfigError(f"sweep: no sweep '{folder.name}'; {hint}")
        try:
            content = read_json(folder / FILE)
            arms = tuple(_planned(arm) for arm in content["arms"])
            return cls(**{**content, "arms": arms, "analysis": {**content["analysis"]}})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigError(f"{folder / FILE}: not the plan of a sweep ({error})") from error


def _planned(arm: Mapping[str, Any]) -> PlannedArm:
    """An arm read back; ValueError, TypeError or KeyError for what is none."""
    for seed in str(arm["seed"]).split("/"):
        int(seed)
    if not isinstance(arm["arm"], str) or not isinstance(arm["signature"], str):
        raise TypeError("arm and signature must be text")
    return PlannedArm(**{**arm, "overrides": tuple(map(str, arm["overrides"]))})


def sweep_folder(output_dir: str | Path, sweep: str) -> Path:
    """Where a sweep keeps its plan and the files of its jobs; ConfigError for what is a path and no name."""
    check_name("sweep", sweep)
    return Path(output_dir).resolve() / "sweeps" / sweep
