"""The schedule of training phases: what learns, whether the market bids and settles, on which data."""

from __future__ import annotations

from dataclasses import dataclass, field

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

PROFILE_OF = {"language_model": "pretrain", "instruction": "sft", "preference": "preferences"}
"""The data that each objective is defined on: running text, dialogues, pairs of answers."""
OBJECTIVES = tuple(PROFILE_OF)
DATA_PROFILES = tuple(PROFILE_OF.values())
PARAMETER_GROUPS = (
    "rwkv_backbone",
    "router_gate",
    "rwkv_experts",
    "transformer_experts",
    "bridge",
    "critic",
    "embedding_head",
)


@dataclass(kw_only=True)
class PhaseConfig:
    """One phase; a multiplier of 0 freezes its parameter group."""

    steps: int = setting(0, help="optimiser steps; 0 leaves the phase out", low=0)
    rwkv_backbone: float = setting(1.0, help="learning-rate multiplier", low=0)
    router_gate: float = setting(1.0, help="learning-rate multiplier", low=0)
    rwkv_experts: float = setting(1.0, help="learning-rate multiplier of all experts without a prefix", low=0)
    transformer_experts: float = setting(1.0, help="learning-rate multiplier", low=0)
    bridge: float = setting(1.0, help="learning-rate multiplier", low=0)
    critic: float = setting(1.0, help="learning-rate multiplier", low=0)
    embedding_head: float = setting(1.0, help="learning-rate multiplier", low=0)
    market_bids: bool = setting(True, help="capital takes part in the election")
    market_settles: bool = setting(True, help="capital is updated once per optimiser step")
    objective: str = setting("language_model", help="what is minimised", options=OBJECTIVES)
    data_profile: str = setting(
        "pretrain", help="what is read: running text, dialogues or pairs of answers", options=DATA_PROFILES
    )
    preference_beta: float = setting(
        0.1, help="DPO's beta: how dear it is to leave the reference policy, with objective preference", above=0
    )

    def multipliers(self) -> dict[str, float]:
        """Learning-rate multiplier by parameter group."""
        return {group: getattr(self, group) for group in PARAMETER_GROUPS}


@dataclass(kw_only=True)
class PhaseScheduleConfig:
    """Phases by name, run in the order written.

    One name means something: in the phase called `criticwarm`, whenever it runs, economy v21 settles with the critics'
    warm-up terms (economy.criticwarm_reward_scale, criticwarm_penalty_scale and critic_bonus_*). Other names are free.
    """

    schedule: dict[str, PhaseConfig] = field(
        default_factory=dict,
        metadata={
            "help": "phases by name, run in the order written; the name criticwarm switches on the critics' "
            "warm-up terms of economy v21"
        },
    )

    def __post_init__(self) -> None:
        for name, phase in self.schedule.items():
            if phase.data_profile != PROFILE_OF[phase.objective]:
                raise ConfigError(
                    f"phase.schedule.{name}.data_profile: {phase.data_profile} with objective {phase.objective}; "
                    f"must be {PROFILE_OF[phase.objective]}"
                )
            if phase.steps and not any(phase.multipliers().values()):
                raise ConfigError(f"phase.schedule.{name}: every learning-rate multiplier is 0, so nothing would learn")

    def with_profile(self, profile: str) -> dict[str, PhaseConfig]:
        """The phases with steps that read this data, by name."""
        return {name: phase for name, phase in self.schedule.items() if phase.steps and phase.data_profile == profile}

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole schedule."""
        return sum(phase.steps for phase in self.schedule.values())
