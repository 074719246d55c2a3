"""The market's constants, one dataclass per published arithmetic: v21, v18 (its ancestor), off; see also calibrated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

ECONOMIES = ("off", "v18", "v21", "calibrated")


@dataclass(kw_only=True)
class EconomyConfig:
    """What every economy has in common; `economy=off` is exactly this."""

    kind: str = setting("off", help="arithmetic of the market", options=ECONOMIES)


@dataclass(kw_only=True)
class CriticTraining:
    """The critic of one layer, a network on a detached input, and how it learns."""

    loss_weight: float = setting(0.1, help="weight of the critic's losses in the total loss", low=0)
    affinity_trained: bool = setting(True, help="train the affinity head on realised profit; false: as published")
    detach_input: bool = setting(True, help="the critic's loss does not train the backbone; false: as published")

    signed_difficulty: ClassVar[bool] = False
    """Whether difficulty may be negative: a z-score, not an excess of nats."""


@dataclass(kw_only=True)
class CriticConfig(CriticTraining):
    """A published critic."""

    bid_scale: float = setting(0.05, help="bid and stake per unit of affinity", low=0)
    init_capital: float = setting(10000.0, help="purse K0 of a new critic", above=0)


@dataclass(kw_only=True)
class MoneyConfig(EconomyConfig):
    """Settings shared by the economies that have capital."""

    total_capital: float = setting(1000.0, help="money M of one layer at the start, shared equally", above=0)
    min_capital_share: float = setting(0.05, help="floor of an expert, as a share of M/E", low=0, high=1)
    tax_threshold: float = setting(1.5, help="wealth tax starts above this multiple of the mean capital", low=0)
    tax_rate: float = setting(
        0.2, help="progressive tax on the excess above the threshold, per settlement", low=0, high=1
    )
    tax_negative_wealth: bool = setting(
        False, help="use a negative mean as it is, as published, which taxes debtors; false: nobody below zero pays"
    )
    mask_padding: bool = setting(True, help="padding never enters the market; false: as published, with loss 0")
    baseline_init: float = setting(5.0, help="initial loss baseline, nats per token")
    alpha_init: float = setting(0.05, help="initial strength of the market in the election; v18 keeps it", low=0)
    critic: CriticConfig = field(default_factory=CriticConfig, metadata={"help": "the critic of each layer"})


@dataclass(kw_only=True)
class V21Config(MoneyConfig):
    """CaMoE v21.1; defaults are the pilot's constants."""

    kind: str = setting("v21", help="arithmetic of the market", options=ECONOMIES)
    qe_low_ratio: float = setting(0.85, help="inject money when sum C is below this share of M", low=0)
    qe_high_ratio: float = setting(1.20, help="drain money when sum C is above this share of M", low=0)
    qe_inject_ratio: float = setting(0.15, help="share of the gap to M injected per settlement", low=0, high=1)
    qe_drain_ratio: float = setting(0.08, help="share of the excess over M drained per settlement", low=0, high=1)
    qe_floor_alloc_ratio: float = setting(
        0.70, help="share of an injection that fills gaps below the floor", low=0, high=1
    )
    base_compute_floor_ratio: float = setting(
        0.08, help="floor of an expert, as a share of M/E (larger of two)", low=0, high=1
    )
    idle_threshold: float = setting(0.01, help="selection EMA below which an expert is idle", low=0, high=1)
    idle_tax_rate: float = setting(0.02, help="tax on an idle expert's capital, per settlement", low=0, high=1)
    depreciation_rate: float = setting(0.001, help="loss of all capital, per settlement", low=0, high=1)
    vc_affinity_threshold: float = setting(
        0.15, help="mean positive affinity above which an expert is a venture", low=0
    )
    vc_low_cap_ratio: float = setting(0.85, help="ventures have less than this multiple of the mean capital", low=0)
    vc_selected_threshold: float = setting(0.01, help="ventures won less than this share of the window's tokens", low=0)
    vc_inject_ratio: float = setting(0.01, help="venture budget per settlement, as a share of M", low=0)
    vc_max_inject_ratio: float = setting(0.12, help="most one venture may get, as a share of M/E", low=0)
    base_commission: float = setting(0.8, help="share of its revenue that a critic keeps", low=0)
    dividend_scale: float = setting(0.4, help="extra revenue per nat above the mean performance", low=0)
    dividend_std_factor: float = setting(0.5, help="standard deviations above the mean that earn the 1.25 bonus", low=0)
    critic_bankrupt_threshold_ratio: float = setting(
        0.2, help="bankrupt when the purse is below this share of K0", low=0
    )
    bailout_base: float = setting(500.0, help="first bailout", low=0)
    bailout_decay: float = setting(0.65, help="each further bailout is this share of the one before", low=0, high=1)
    bailout_min: float = setting(100.0, help="smallest bailout", low=0)
    repay_ratio: float = setting(
        0.25, help="share of the purse above 0.2 K0 that repays debt per settlement", low=0, high=1
    )
    restructure_alpha: float = setting(0.12, help="step of a bankrupt critic towards its donors", low=0, high=1)
    donor_topk: int = setting(2, help="donor layers of a bailout", low=1)
    alpha_ema: float = setting(0.98, help="inertia of alpha", low=0, high=1)
    alpha_step: float = setting(0.2, help="step of alpha's target per unit of agreement above one half", low=0)
    alpha_min: float = setting(0.0, help="smallest alpha", low=0)
    alpha_max: float = setting(1.0, help="largest alpha", low=0)
    criticwarm_reward_scale: float = setting(2.0, help="reward scale while the critic warms up", low=0)
    criticwarm_penalty_scale: float = setting(0.4, help="penalty scale while the critic warms up", low=0)
    critic_bonus_scale: float = setting(0.2, help="bonus per unit of critic improvement, criticwarm only", low=0)
    critic_bonus_low: float = setting(-0.1, help="lower clip of the critic improvement signal")
    critic_bonus_high: float = setting(0.3, help="upper clip of the critic improvement signal")
    critic_bonus_ema_momentum: float = setting(0.95, help="inertia of the critic loss EMA", low=0, high=1)

    def __post_init__(self) -> None:
        if self.qe_low_ratio > self.qe_high_ratio:
            raise ConfigError(
                f"economy.qe_low_ratio: {self.qe_low_ratio} is above economy.qe_high_ratio {self.qe_high_ratio}"
            )
        if self.alpha_min > self.alpha_max:
            raise ConfigError(f"economy.alpha_min: {self.alpha_min} is above economy.alpha_max {self.alpha_max}")
        if self.critic_bonus_low > self.critic_bonus_high:
            raise ConfigError(
                f"economy.critic_bonus_low: {self.critic_bonus_low} is above "
                f"economy.critic_bonus_high {self.critic_bonus_high}"
            )


@dataclass(kw_only=True)
class V18Config(MoneyConfig):
    """CaMoE v18: no bank, no ventures, fixed alpha; money is scaled back when it strays beyond 0.5..1.5 of M.

    Its critics only subsidise bids: their positions are not settled, so that purses stay at K0.
    """

    kind: str = setting("v18", help="arithmetic of the market", options=ECONOMIES)
    high_ratio: float = setting(1.5, help="above this share of M capital is scaled by shrink", low=1)
    shrink: float = setting(0.95, help="factor applied to all capital above high_ratio", above=0, high=1)
    low_ratio: float = setting(0.5, help="below this share of M every expert receives lift", low=0, high=1)
    lift: float = setting(0.01, help="money given to every expert below low_ratio, as a share of M", low=0)


def critic_of(economy: EconomyConfig) -> CriticTraining | None:
    """Settings of the economy's critics, None where it has none."""
    critic = getattr(economy, "critic", None)
    return critic if isinstance(critic, CriticTraining) else None
