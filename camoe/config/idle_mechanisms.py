"""Settings of the calibrated economy's mechanisms that do nothing under some choices of the mechanism."""

from __future__ import annotations

from typing import NamedTuple

from camoe.config.calibrated import AUDITED_CREDITS, CREDITS, CalibratedConfig
from camoe.config.economy import EconomyConfig


class IdleSettings(NamedTuple):
    """Settings, `group.name`, that do nothing while the setting `switch` has one of the values `off`."""

    switch: str
    off: tuple[str, ...]
    settings: tuple[str, ...]


IDLE_MECHANISMS = (
    IdleSettings("credit.kind", tuple(sorted(set(CREDITS) - set(AUDITED_CREDITS))), ("credit.share",)),
    IdleSettings("wealth_tax.kind", ("none",), ("wealth_tax.threshold", "wealth_tax.half_life")),
    IdleSettings("idle_tax.kind", ("none",), ("idle_tax.half_life",)),
    IdleSettings("ventures.kind", ("ucb", "none"), ("ventures.half_life", "ventures.leverage")),
    IdleSettings("ventures.kind", ("critic", "none"), ("ventures.ucb_scale",)),
    IdleSettings("ventures.kind", ("none",), ("ventures.subsidy_max",)),
    IdleSettings("floor.kind", ("none",), ("floor.share",)),
    IdleSettings("bank.kind", ("none",), ("bank.money", "bank.entropy_min", "bank.entropy_max", "bank.relaxation")),
    IdleSettings("capital.kind", ("additive",), ("bank.entropy_max", "bank.relaxation")),
    IdleSettings("congestion.kind", ("none",), ("congestion.target",)),
    IdleSettings("congestion.kind", ("none", "proportional", "pid", "quantile"), ("congestion.step",)),
    IdleSettings(
        "congestion.kind",
        ("none", "sign", "quantile"),
        ("congestion.gain", "congestion.half_life", "congestion.largest"),
    ),
    IdleSettings(
        "congestion.kind",
        ("none", "sign", "proportional", "quantile"),
        ("congestion.proportional", "congestion.derivative"),
    ),
    IdleSettings("compute.kind", ("none",), ("compute.gain", "compute.half_life")),
    IdleSettings("alpha.kind", ("fixed",), ("alpha.least", "alpha.largest")),
    IdleSettings("alpha.kind", ("fixed", "agreement"), ("alpha.holdout_share",)),
    IdleSettings(
        "critic.settlement",
        ("none",),
        (
            "critic.half_life",
            "critic.purse_max",
            "critic.bankrupt_below",
            "critic.bailout_base",
            "critic.bailout_decay",
            "critic.bailout_min",
            "critic.repay_half_life",
            "critic.restructure_step",
            "critic.donor_topk",
            "critic.donor_skill",
        ),
    ),
    IdleSettings("placebo.kind", ("none",), ("placebo.after_tokens",)),
)


def has(economy: EconomyConfig, switch: str, value: str) -> bool:
    """Whether the economy is calibrated and its setting `switch`, `group.name`, has the value."""
    group, _, name = switch.partition(".")
    return isinstance(economy, CalibratedConfig) and getattr(getattr(economy, group), name) == value
