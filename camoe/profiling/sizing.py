"""How wide experts must be for a model to have a nominal number of parameters, stored or active."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.tracking.short_number import short_number

MULTIPLE = 64
TOLERANCE = 0.02


@dataclass(frozen=True)
class Growth:
    """Parameters of a model whose experts have f hidden units: fixed + per_unit * f."""

    fixed: float
    per_unit: float

    @classmethod
    def between(cls, width: int, params: float, wider: int, more_params: float) -> Growth:
        """Through two widths and the parameters that they give."""
        per_unit = (more_params - params) / (wider - width)
        return cls(params - per_unit * width, per_unit)

    def at(self, hidden: float) -> float:
        """Parameters with experts of this width."""
        return self.fixed + self.per_unit * hidden

    def hidden(self, nominal: float) -> float:
        """The width, not rounded, that gives `nominal` parameters; below 0 where all else is more already."""
        return (nominal - self.fixed) / self.per_unit


@dataclass(frozen=True)
class Fit:
    """The width, a multiple of 64, that comes nearest to a nominal size, and the parameters that it gives.

    It is an answer only if `feasible`: at least 64, and within 2 % of the nominal size.
    """

    growth: Growth
    nominal: float

    @property
    def hidden(self) -> int:
        """The width, 64 where none is small enough."""
        return max(MULTIPLE, round(self.growth.hidden(self.nominal) / MULTIPLE) * MULTIPLE)

    @property
    def params(self) -> float:
        """Parameters with this width."""
        return self.growth.at(self.hidden)

    @property
    def deviation(self) -> float:
        """Share of the nominal size by which they exceed it."""
        return self.params / self.nominal - 1

    @property
    def feasible(self) -> bool:
        """Whether the width is an answer."""
        return abs(self.deviation) <= TOLERANCE

    def __str__(self) -> str:
        """One line."""
        if self.feasible:
            return f"experts.hidden={self.hidden} gives {short_number(self.params)} ({self.deviation:+.1%})"
        if self.growth.fixed > self.nominal:
            return f"infeasible: without any hidden unit there are {short_number(self.growth.fixed)}"
        return (
            f"infeasible: experts.hidden={self.hidden}, the nearest multiple of {MULTIPLE}, gives "
            f"{short_number(self.params)} ({self.deviation:+.0%})"
        )


def published_hidden(nominal: int, n_expert: int, n_embd: int) -> int:
    """CDRmix's rule: f = max(target // (2 C), C), target = nominal // E, in integers.

    It gives one bank of E experts the nominal size, but every layer gets such a bank: the model stores 25 to 97 times
    that. Source: CDRmix, ExpertParameterCalculator.
    """
    return max(nominal // n_expert // (2 * n_embd), n_embd)
