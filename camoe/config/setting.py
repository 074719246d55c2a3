"""One configuration value: its default, its one-line meaning, and the limits it is checked against."""

from __future__ import annotations

from dataclasses import Field, field
from typing import Any


def setting(
    default: Any = None,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    options: tuple[str, ...] | None = None,
    may_be_empty: bool = False,
    affects_results: bool = True,
) -> Any:
    """A dataclass field that knows its meaning and its limits.

    `low`/`high` are inclusive, `above` is exclusive, `options` lists the allowed strings. Text must not be empty unless
    it `may_be_empty`. `affects_results=False` keeps the value (or the whole group it holds) out of the run's signature.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "above": above,
        "options": options,
        "may_be_empty": may_be_empty,
        "affects_results": affects_results,
    }
    return field(default=default, metadata=metadata)


def allowed_range(definition: Field[Any]) -> str:
    """The limits of a field in words, for a refusal: 'at least 1', 'above 0 and at most 1', ..."""
    limits = definition.metadata
    words = []
    if limits.get("above") is not None:
        words.append(f"above {limits['above']:.12g}")
    if limits.get("low") is not None:
        words.append(f"at least {limits['low']:.12g}")
    if limits.get("high") is not None:
        words.append(f"at most {limits['high']:.12g}")
    return " and ".join(words)


def within_limits(definition: Field[Any], value: Any) -> bool:
    """Whether a number lies inside the limits of its field; values without limits always do."""
    limits = definition.metadata
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    return (
        (limits.get("above") is None or value > limits["above"])
        and (limits.get("low") is None or value >= limits["low"])
        and (limits.get("high") is None or value <= limits["high"])
    )
