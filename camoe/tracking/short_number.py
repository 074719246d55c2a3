"""Numbers of any size in five characters."""

from __future__ import annotations


def short_number(number: float) -> str:
    """12.3k, 4.56M, ..."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
