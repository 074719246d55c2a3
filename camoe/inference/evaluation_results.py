"""All that one job=evaluate found, as evaluation.json and as metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from camoe.inference.benchmark_figures import BenchmarkFigure
from camoe.inference.document_scores import DocumentScores
from camoe.inference.domain_scores import DomainScore, domain_scores
from camoe.inference.evaluation import Evaluation
from camoe.inference.position_loss import PositionLoss

TRACKED_DOMAINS = 50  # the largest; the file has all


@dataclass(frozen=True)
class EvaluationResults:
    """The held-out text as a whole, by position, by domain and by the parts of its documents, and the benchmarks."""

    whole: Evaluation
    bpb_error: float
    positions: PositionLoss
    domains: list[DomainScore]
    parts: list[DomainScore]
    benchmarks: list[BenchmarkFigure]

    @classmethod
    def of(
        cls,
        evaluation: Evaluation,
        domains: list[str],
        parts: list[DomainScore],
        benchmarks: list[BenchmarkFigure],
    ) -> EvaluationResults:
        """`domains`: of each held-out document. `parts`: none where documents have none that are known."""
        documents = DocumentScores.of(evaluation)
        found = domain_scores(documents, domains)
        return cls(evaluation, documents.bpb_error(), PositionLoss.of(evaluation), found, parts, benchmarks)

    def record(self, room: str) -> dict[str, Any]:
        """For evaluation.json; the whole's metrics stand under `room`. What is not known is null."""
        return {
            **self.whole.record(room),
            f"{room}/bpb_error": self.bpb_error,
            "positions": self.positions.bands(),
            "domains": [_row(score) for score in self.domains],
            "parts": [_row(score) for score in self.parts],
            "benchmarks": [{**asdict(figure), "error": _known(figure.error)} for figure in self.benchmarks],
        }

    def metrics(self) -> Iterator[tuple[str, float]]:
        """(name, value) of what is one number; NaN where it is not known."""
        yield from (("loss", self.whole.loss), ("bpb", self.whole.bits_per_byte), ("bpb_error", self.bpb_error))
        for score in self.domains[:TRACKED_DOMAINS]:
            yield f"domain/{score.domain}/bpb", score.bits_per_byte
        for score in self.parts:
            if score.bytes:
                yield f"part/{score.domain}/bpb", score.bits_per_byte
        for figure in self.benchmarks:
            part = f"/{figure.part.replace(' ', '_').replace('=', '/')}" if figure.part else ""
            name = f"benchmark/{figure.task}/{figure.metric}{part}"
            yield from ((name, figure.value), (f"{name}_error", figure.error))


def _row(score: DomainScore) -> dict[str, Any]:
    return {**asdict(score), "loss": score.loss, "bpb": _known(score.bits_per_byte)}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
