"""How a run stands: running, finished, failed or killed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from camoe.tracking.process_identity import ProcessIdentity

State = Literal["running", "finished", "failed", "killed"]


@dataclass(frozen=True)
class RunStatus:
    """Content of status.json. `mlflow_missing` counts records of metrics.jsonl that MLflow does not have."""

    state: State
    reason: str = ""
    mlflow_missing: int = 0
    process: ProcessIdentity = field(default_factory=ProcessIdentity.current)
