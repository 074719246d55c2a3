"""How many assignments an expert may take in training."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting


@dataclass(kw_only=True)
class CapacityConfig:
    """A limit of ceil(factor * (N k / E)) assignments per expert among N tokens; off in evaluation and generation."""

    mode: str = setting(
        "off",
        help="what becomes of assignments beyond it: observe counts, drop leaves out, reroute gives to the next choice",
        options=("off", "observe", "drop", "reroute"),
    )
    factor: float = setting(1.25, help="capacity over the assignments of an even load", above=0)
    scope: str = setting(
        "sequence", help="the N tokens: those of a sequence, or of a whole forward pass", options=("sequence", "batch")
    )
    policy: str = setting(
        "position",
        help="who keeps a place: position: the first; probability: those surest of the expert, which is not causal",
        options=("position", "probability"),
    )

    def __post_init__(self) -> None:
        if self.mode == "reroute" and self.policy == "probability":
            raise ConfigError(
                "router.capacity.policy: probability cannot reroute, which needs places given out in the order of the "
                "text; choose router.capacity.policy=position or router.capacity.mode=drop"
            )

    @property
    def limits(self) -> bool:
        """Whether it keeps winners from serving."""
        return self.mode in ("drop", "reroute")

    @property
    def causal(self) -> bool:
        """Whether training decides on a token without those that follow it."""
        return not (self.limits and self.policy == "probability")
