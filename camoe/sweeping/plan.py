"""sweep.json: which runs a sweep is made of, written before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camoe.config.refusal import ConfigError, nearest
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
            arms = tuple(PlannedArm(**{**arm, "overrides": tuple(arm["overrides"])}) for arm in content["arms"])
            return cls(**{**content, "arms": arms})
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{folder / FILE}: not the plan of a sweep ({error})") from error


def sweep_folder(output_dir: str | Path, sweep: str) -> Path:
    """Where a sweep keeps its plan and the files of its jobs."""
    return Path(output_dir).resolve() / "sweeps" / sweep
