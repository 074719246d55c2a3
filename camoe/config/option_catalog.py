"""The groups of `conf/` and their options, each with the comment line that opens its file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from camoe.config.calibrated import CalibratedConfig
from camoe.config.run import RunConfig

REPOSITORY = Path(__file__).resolve().parents[2]
CONF = REPOSITORY / "conf"


def groups() -> dict[str, str]:
    """Group by name, with its meaning; exactly the fields of a run that have a folder in `conf/`."""
    return {field.name: field.metadata["help"] for field in fields(RunConfig) if (CONF / field.name).is_dir()}


def mechanisms() -> dict[str, str]:
    """Groups within a group: the mechanisms of economy=calibrated, as `economy/NAME`, with their meaning."""
    found = (field for field in fields(CalibratedConfig) if (CONF / "economy" / field.name).is_dir())
    return {f"economy/{field.name}": field.metadata["help"] for field in found}


def options(group: str) -> dict[str, str]:
    """Options of a group, with what each is for."""
    return {path.stem: first_comment(path) for path in sorted((CONF / group).glob("*.yaml"))}


def first_comment(path: Path) -> str:
    """The first comment of a YAML file that is no `# @package` directive; '' when there is none."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and not text.startswith("@"):
            return text
    return ""
