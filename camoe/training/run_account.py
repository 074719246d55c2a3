"""What a run has read, cost and lasted: steps, tokens, FLOPs, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from camoe.data.step_rows import StepRows
from camoe.model.cost import LEARNING
from camoe.model.language_model import LanguageModel
from camoe.training.experiments import StepExperiments
from camoe.training.stopwatch import Stopwatch
from camoe.training.training_flops import AuditCost, counting_passes, training_flops


@dataclass
class Progress:
    """Counters of the whole run. train_flops: up to the last record; extra_passes: forward passes of one token since
    then, beside those of learning: audits, and counts of load before a step."""

    step: int = 0
    tokens_seen: int = 0
    skipped_steps: int = 0
    train_flops: float = 0.0
    extra_passes: float = 0.0


class RunAccount:
    """The counters and the stopwatch of a run, earlier processes of it included."""

    def __init__(self, model: LanguageModel, micro_batches: int) -> None:
        """`micro_batches`: how many this rank runs in a step."""
        self.progress, self.stopwatch = Progress(), Stopwatch()
        self._tokens_at_lap = 0
        self._audit_cost = AuditCost.of(model)
        self._counting = counting_passes(model, micro_batches, 1)

    def add(self, rows: StepRows, audits: StepExperiments | None, *, applied: bool) -> None:
        """Count a step that read `rows`, with its audits where the market settled; applied: the weights learned."""
        progress = self.progress
        progress.step += 1
        progress.tokens_seen += rows.places
        progress.extra_passes += self._counting * rows.places
        if not applied:
            progress.skipped_steps += 1
            return
        progress.extra_passes += LEARNING * (rows.places - rows.targets)  # prompts and padding
        if audits is not None:
            progress.extra_passes += self._audit_cost.of_step(audits, rows.tokens.shape[1] - 1)

    def lap(self, window: Mapping[str, Any]) -> dict[str, object]:
        """Metrics of a log window that ends; `window`: its routing. A window of skipped steps alone counts no FLOPs."""
        progress = self.progress
        steps, seconds = self.stopwatch.lap(progress.step)
        tokens, self._tokens_at_lap = progress.tokens_seen - self._tokens_at_lap, progress.tokens_seen
        routed, per_token = window.get("routing/tokens", 0.0), window.get("routing/flops_per_token", 0.0)
        progress.train_flops += training_flops(per_token, routed, progress.extra_passes)
        progress.extra_passes = 0.0
        return {
            "progress/skipped_steps": progress.skipped_steps,
            "time/step": seconds / max(1, steps),
            "time/tokens_per_s": tokens / seconds,
        }

    def spent(self) -> dict[str, object]:
        """Metrics of the whole run up to its last record."""
        return {
            "progress/tokens_seen": self.progress.tokens_seen,
            "progress/train_flops": self.progress.train_flops,
            "time/training_s": self.stopwatch.seconds_at_lap,
        }

    def tokens_per_s(self) -> float:
        """Training tokens per second of the whole run."""
        seconds = self.stopwatch.seconds_at_lap
        return self._tokens_at_lap / seconds if seconds else 0.0

    def state(self) -> dict[str, Any]:
        """JSON-ready, for a checkpoint."""
        return {"progress": asdict(self.progress), "training_s": self.stopwatch.seconds()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.progress = Progress(**state["progress"])
        self.stopwatch = Stopwatch(self.progress.step, state["training_s"])
        self._tokens_at_lap = self.progress.tokens_seen
