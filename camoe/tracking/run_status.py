"""How a run stands: running, finished, failed or killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from camoe.tracking.process_identity import ProcessIdentity

State = Literal["running", "finished", "failed", "killed"]


@dataclass(frozen=True)
class RunStatus:
    """Content of status.json. `mlflow_missing` counts records of metrics.jsonl that MLflow does not have."""

    state: State
    reason: str = ""
    mlflow_missing: int = 0
    process: ProcessIdentity = field(default_factory=ProcessIdentity.current)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RunStatus:
        """From what status.json holds; KeyError or TypeError when that is no status."""
        return cls(**{**content, "process": ProcessIdentity(**content["process"])})
