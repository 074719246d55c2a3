"""One value against what its setting allows."""

from __future__ import annotations

import math
from dataclasses import Field
from typing import Any

from camoe.config.refusal import not_an_option, out_of_range
from camoe.config.setting import allowed_range, within_limits

LARGEST = 2**63 - 1  # of the integers that torch, numpy and parquet hold


def check_value(path: str, definition: Field[Any], value: Any) -> None:
    """Refuses a value that is none of its setting's options, not finite, empty, or outside its limits."""
    options = definition.metadata.get("options")
    if options and value not in options:
        raise not_an_option(path, value, options)
    if isinstance(value, float) and not math.isfinite(value):
        raise out_of_range(path, value, "a finite number")
    if not within_limits(definition, value):
        raise out_of_range(path, value, allowed_range(definition))
    if isinstance(value, int) and abs(value) > LARGEST:
        raise out_of_range(path, value, f"at most {LARGEST}")
    if isinstance(value, str) and not definition.metadata.get("may_be_empty"):
        _check_text(path, value)


def _check_text(path: str, value: str) -> None:
    """Refuses what names nothing: no file, field or run has such a name."""
    if not value.strip():
        raise out_of_range(path, value, "text that is not empty")
    if "\0" in value:
        raise out_of_range(path, value, "text without NUL characters")
