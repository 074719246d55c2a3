"""Numbers of any size in five characters."""

from __future__ import annotations

ROUNDS_UP = 0.9995  # what is more rounds to the next unit's 1


def short_number(number: float) -> str:
    """12.3k, 4.56M, ..."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= ROUNDS_UP * size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
