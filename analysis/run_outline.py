"""What is known about a run besides its metrics, from whichever of its files are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from camoe.config import ConfigError
from camoe.config.experts import ExpertsConfig, expert_labels
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.run_status import RunStatus

CHOICE = re.compile(r"^\S+ \S+ INFO ([A-Za-z][\w /-]*): (.*)$")
WARNING = re.compile(r"^(\S+ \S+) (WARNING|ERROR|CRITICAL) (.*)$")
LONGEST_SAMPLE = 6000


@dataclass(frozen=True, kw_only=True)
class RunOutline:
    """choices: what the run resolved and why, from its log's first lines; warnings: lines of its log, with the time."""

    folder: Path
    status: RunStatus
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    overrides: list[str]
    choices: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sample: str = ""

    @property
    def name(self) -> str:
        """The short name that the user gave."""
        return str(self.config.get("name", self.folder.name))

    @property
    def command(self) -> str:
        """What to type for this run again; without the paths of the machine it ran on."""
        return shlex.join(["python", "run.py", *self.overrides])

    @property
    def prompt(self) -> str:
        """What the sample continues."""
        prompt = str(self._group("job").get("prompt") or "")
        return prompt if self.sample.startswith(prompt) else ""

    @property
    def has_market(self) -> bool:
        """Whether capital plays a part."""
        return self._group("economy").get("kind", "off") != "off"

    @property
    def economy(self) -> str:
        """Name of the economy."""
        return str(self._group("economy").get("kind", "unknown"))

    @property
    def top_k(self) -> int | None:
        """Winners per token, None in a folder that does not say."""
        found = self._group("router").get("top_k")
        return int(found) if found is not None else None

    def experts(self, n_expert: int) -> ExpertsConfig:
        """The mix of E experts; all of the cheap kind in a folder that does not say, or that has others (dense)."""
        mix = ExpertsConfig(**self._group("experts"))
        return mix if mix.total == n_expert else ExpertsConfig(rwkv_ffn=n_expert, transformer_prefix=0)

    def expert_names(self, n_expert: int) -> list[str]:
        """R0, R1, ..., T0, ..."""
        return expert_labels(self.experts(n_expert))

    def _group(self, name: str) -> Mapping[str, Any]:
        group = self.config.get(name)
        return group if isinstance(group, Mapping) else {}


def read_outline(folder: RunFolder) -> RunOutline:
    """Of a run folder, finished or not."""
    lines = _text(folder.log_file).splitlines()
    return RunOutline(
        folder=folder.path,
        status=folder.status(),
        config=folder.config(),
        provenance=folder.provenance(),
        overrides=_overrides(folder.path / "overrides.yaml"),
        choices=_choices(lines),
        warnings=[f"{found[3]} ({found[1]})" for line in lines if (found := WARNING.match(line))],
        sample=_text(folder.samples / "final.txt")[:LONGEST_SAMPLE],
    )


def _choices(lines: list[str]) -> dict[str, str]:
    """Those before the first step; of a run that went on, those of its last beginning."""
    found: dict[str, str] = {}
    for line in lines:
        if match := CHOICE.match(line):
            found[match[1]] = match[2]
    return found


def _overrides(path: Path) -> list[str]:
    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    return [str(item) for item in content] if isinstance(content, list) else []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
