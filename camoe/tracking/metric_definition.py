"""What defines a metric, and the forms under which one is recorded."""

from __future__ import annotations

from dataclasses import dataclass

SCALAR, WORST, BY_LAYER, BY_EXPERT = "", "worst", "by_layer", "by_expert"
LAYERED = (SCALAR, BY_LAYER)
HEADLINE = (SCALAR, WORST, BY_LAYER)


@dataclass(frozen=True)
class MetricDefinition:
    """One row of the table; `forms` are the endings under which the metric is recorded."""

    name: str
    definition: str
    unit: str
    range: str
    forms: tuple[str, ...] = (SCALAR,)
    worst: str = "max"

    def names(self) -> list[str]:
        """Every recorded name of this metric."""
        return [f"{self.name}/{form}" if form else self.name for form in self.forms]


def room(
    name: str, *rows: tuple[str, str, str, str] | tuple[str, str, str, str, tuple[str, ...]]
) -> list[MetricDefinition]:
    """Definitions of one room, each row (name, definition, unit, range[, forms])."""
    return [MetricDefinition(f"{name}/{row[0]}", *row[1:]) for row in rows]
