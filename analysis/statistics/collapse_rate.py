"""How often runs diverge."""

from __future__ import annotations

from statsmodels.stats.proportion import proportion_confint


def collapse_rate(diverged: int, ended: int, level: float = 0.95) -> tuple[float, float, float]:
    """(rate, low, high) with Wilson's score interval; NaN where no run has ended. Wilson 1927."""
    if not ended:
        return (float("nan"),) * 3
    low, high = proportion_confint(diverged, ended, alpha=1 - level, method="wilson")
    return diverged / ended, float(low), float(high)
