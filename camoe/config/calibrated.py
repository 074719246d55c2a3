"""The calibrated economy's settings: one small group per mechanism, in the order of a settlement.

Amounts of time are half-lives in tokens, so that no constant changes its meaning with the batch. Numbers in
parentheses are the laws in `camoe/economy/calibrated`; what a value means there is said in its docstring.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from camoe.config.economy import ECONOMIES, CriticTraining, EconomyConfig
from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

AUDITED_CREDITS = ("replacement_audit", "leave_one_out", "midpoint")
NET_CREDITS = ("replacement_audit", "leave_one_out")
CREDITS = ("token_loss", "advantage", "gradient", *AUDITED_CREDITS)


@dataclass(kw_only=True)
class BidConfig:
    """(1) The market's part of a bid."""

    space: str = setting("logits", help="what bids add to: gate logits, or their sigmoid", options=("logits", "score"))
    bias_max: float = setting(1.0, help="largest bias, in standard deviations of the gate", low=0)
    difficulty_weight: float = setting(0.25, help="how much more wealth counts per s.d. of expected difficulty", low=0)
    half_life: float = setting(250e3, help="tokens over which gate spread and loss statistics are averaged", above=0)


@dataclass(kw_only=True)
class PriceConfig:
    """(5) From bids to nats."""

    kind: str = setting("vickrey", help="what a winner pays for its token", options=("vickrey", "none"))
    half_life: float = setting(250e3, help="tokens over which nats per logit (theta) are estimated", above=0)


@dataclass(kw_only=True)
class CreditConfig:
    """(4), (6) What an expert is credited with."""

    kind: str = setting("replacement_audit", help="how an expert's value is measured", options=CREDITS)
    share: float = setting(0.125, help="share of the training steps whose sequences are audited", low=0, high=1)
    half_life: float = setting(4e6, help="training tokens over which credit is averaged", above=0)
    prior_tokens: float = setting(2000.0, help="served tokens n_0 that shrink the credit of the untried", above=0)


@dataclass(kw_only=True)
class CapitalConfig:
    """(7) From merit to wealth."""

    kind: str = setting("hedge", help="multiplicative weights, or additive profit", options=("hedge", "additive"))
    money_per_expert: float = setting(1.0, help="M / E, the unit of money; changes nothing else", above=0)
    half_life: float = setting(500e3, help="tokens in which merit becomes wealth (H_cap)", above=0)
    tax_half_life: float = setting(500e3, help="tokens in which log wealth halves (H_tax); hedge only", above=0)
    gain: float | None = setting(None, help="growth per unit of merit; null: 90% stay within a factor e", low=0)
    gain_max: float = setting(4.0, help="largest automatic gain", above=0)


@dataclass(kw_only=True)
class WealthTaxConfig:
    """(8) The tax above a threshold."""

    kind: str = setting("threshold", help="tax on wealth above a threshold", options=("threshold", "none"))
    threshold: float = setting(2.0, help="multiple of the mean wealth above which it is due", low=0)
    half_life: float = setting(500e3, help="tokens in which half of the excess is taken", above=0)


@dataclass(kw_only=True)
class IdleTaxConfig:
    """(9) The tax on idle wealth; it pays the venture pot."""

    kind: str = setting("venture_pot", help="tax on experts that hardly serve", options=("venture_pot", "none"))
    threshold: float = setting(0.1, help="idle is a load below this multiple of 1/E", low=0)
    half_life: float = setting(500e3, help="tokens in which half of an idle expert's wealth is taken", above=0)
    load_half_life: float = setting(50e3, help="tokens over which the load is averaged", above=0)


@dataclass(kw_only=True)
class VenturesConfig:
    """(10) Subsidised bids for experts that hardly serve."""

    kind: str = setting("critic", help="who gets subsidies, and from what", options=("critic", "ucb", "none"))
    half_life: float = setting(250e3, help="tokens in which half of a grant vests", above=0)
    leverage: float = setting(4.0, help="subsidy, in s.d. of the gate, per grant of M/E", low=0)
    subsidy_max: float = setting(1.0, help="largest subsidy of one expert, in s.d. of the gate", low=0)
    ucb_scale: float = setting(10.0, help="c_u of c_u sqrt(log(sum n) / n_e)", low=0)


@dataclass(kw_only=True)
class FloorConfig:
    """(11) The smallest share of wealth."""

    kind: str = setting("water_filling", help="who pays for the floor", options=("water_filling", "none"))
    share: float = setting(0.05, help="floor, as a multiple of 1/E", above=0, high=1)


@dataclass(kw_only=True)
class BankConfig:
    """(12) The central bank's rule on the spread of wealth."""

    kind: str = setting("entropy", help="rule of the central bank", options=("entropy", "none"))
    money: str = setting("conserved", help="QE by transfer, or by new money", options=("conserved", "elastic"))
    entropy_min: float = setting(0.7, help="H(c)/log E below which QE mixes wealth", low=0, high=1)
    entropy_max: float = setting(0.98, help="H(c)/log E above which QT relaxes the tax on log wealth", low=0, high=1)
    relaxation: float = setting(2.0, help="factor on capital.tax_half_life while QT relaxes it", low=1)


@dataclass(kw_only=True)
class CongestionConfig:
    """(13) The price of a crowded expert."""

    kind: str = setting(
        "proportional",
        help="rule of the congestion price",
        options=("none", "sign", "proportional", "pid", "quantile"),
    )
    target: str = setting("uniform", help="load that the price aims at", options=("uniform", "inverse_cost"))
    step: float = setting(1e-3, help="sign: step per settlement, in units of scores or s.d. of logits", low=0)
    gain: float = setting(1.0, help="proportional, pid: price per half-life and unit of relative excess load", low=0)
    half_life: float = setting(100e3, help="proportional, pid: tokens of that half-life", above=0)
    proportional: float = setting(0.1, help="pid: price per unit of relative excess load", low=0)
    derivative: float = setting(0.0, help="pid: price per change of the relative excess load", low=0)
    largest: float = setting(8.0, help="proportional, pid: largest price, in s.d. of the gate", low=0)


@dataclass(kw_only=True)
class ComputeConfig:
    """(14) The price of FLOPs."""

    kind: str = setting(
        "none",
        help="price that holds FLOPs at a budget: as a ceiling (budget), or from both sides (equal)",
        options=("none", "budget", "equal"),
    )
    budget: float = setting(1.0, help="FLOPs per token aimed at, as a multiple of those under an even load", above=0)
    gain: float | None = setting(
        None, help="price per half-life and unit of relative excess; null: by how far the experts' costs differ", low=0
    )
    half_life: float = setting(100e3, help="tokens of that half-life", above=0)


@dataclass(kw_only=True)
class AlphaConfig:
    """(15) The market's weight in the election."""

    kind: str = setting("holdout", help="rule of alpha", options=("fixed", "agreement", "holdout"))
    init: float = setting(0.5, help="s.d. of the gate per e-fold of wealth, at the start", low=0)
    least: float = setting(0.01, help="smallest alpha of the rules that move it", above=0)
    largest: float = setting(2.0, help="largest alpha of the rules that move it", above=0)
    half_life: float = setting(1e6, help="tokens in which alpha changes by e^(1/2) per unit of evidence", above=0)
    holdout_share: float = setting(
        0.05, help="holdout: share of the sequences routed without the market", low=0, high=1
    )


@dataclass(kw_only=True)
class LogScoringCriticConfig(CriticTraining):
    """(16) The critic, its purse and its rescue; purses are counted in units of the first purse K0."""

    settlement: str = setting("log_scoring", help="what moves a critic's purse", options=("log_scoring", "none"))
    half_life: float = setting(1e6, help="tokens in which a score of 1 multiplies the purse by e^(1/2)", above=0)
    purse_max: float = setting(3.0, help="largest purse, in units of K0", low=1)
    bankrupt_below: float = setting(0.2, help="purse below which a critic is bankrupt, in units of K0", low=0, high=1)
    bailout_base: float = setting(0.5, help="first bailout, in units of K0", low=0)
    bailout_decay: float = setting(0.65, help="each further bailout is this share of the one before", low=0, high=1)
    bailout_min: float = setting(0.1, help="smallest bailout, in units of K0", low=0)
    repay_half_life: float = setting(1e6, help="tokens in which half of the purse above ruin repays debt", above=0)
    restructure_step: float = setting(0.12, help="step of a bankrupt critic towards its donors", low=0, high=1)
    donor_topk: int = setting(2, help="donor layers of a bailout", low=1)
    donor_skill: str = setting("r2", help="what ranks donors, each layer's own", options=("r2", "purse"))

    signed_difficulty: ClassVar[bool] = True


@dataclass(kw_only=True)
class LedgerConfig:
    """(17) What a settlement writes down."""

    kind: str = setting("rows", help="rows (from, to, amount, reason), or totals only", options=("rows", "totals"))


@dataclass(kw_only=True)
class PlaceboConfig:
    """Controls: the same market, but its wealth means nothing."""

    kind: str = setting("none", help="placebo", options=("none", "shuffled", "shadow", "frozen"))
    after_tokens: float = setting(0.0, help="tokens settled before the placebo begins", low=0)


def _mechanism(schema: type[Any], help: str) -> Any:
    return field(default_factory=schema, metadata={"help": help})


@dataclass(kw_only=True)
class CalibratedConfig(EconomyConfig):
    """The well-posed economy; every mechanism is a group of `conf/economy/`."""

    kind: str = setting("calibrated", help="arithmetic of the market", options=ECONOMIES)
    bid: BidConfig = _mechanism(BidConfig, "what the market adds to the gate")
    price: PriceConfig = _mechanism(PriceConfig, "Vickrey price and its conversion into nats")
    credit: CreditConfig = _mechanism(CreditConfig, "how an expert's value is measured")
    capital: CapitalConfig = _mechanism(CapitalConfig, "from merit to wealth")
    wealth_tax: WealthTaxConfig = _mechanism(WealthTaxConfig, "tax above a threshold of wealth")
    idle_tax: IdleTaxConfig = _mechanism(IdleTaxConfig, "tax on idle wealth, paid into the venture pot")
    ventures: VenturesConfig = _mechanism(VenturesConfig, "subsidised bids for the idle")
    floor: FloorConfig = _mechanism(FloorConfig, "smallest share of wealth")
    bank: BankConfig = _mechanism(BankConfig, "central bank, on the spread of wealth")
    congestion: CongestionConfig = _mechanism(CongestionConfig, "price of a crowded expert")
    compute: ComputeConfig = _mechanism(ComputeConfig, "price of FLOPs")
    alpha: AlphaConfig = _mechanism(AlphaConfig, "the market's weight in the election")
    critic: LogScoringCriticConfig = _mechanism(LogScoringCriticConfig, "critic and the settlement of its forecasts")
    ledger: LedgerConfig = _mechanism(LedgerConfig, "what a settlement writes down")
    placebo: PlaceboConfig = _mechanism(PlaceboConfig, "controls whose wealth means nothing")

    def __post_init__(self) -> None:
        for low, high in (("alpha.least", "alpha.largest"), ("bank.entropy_min", "bank.entropy_max")):
            group, _, name = low.partition(".")
            least, largest = getattr(getattr(self, group), name), getattr(getattr(self, group), high.partition(".")[2])
            if least > largest:
                raise ConfigError(f"economy.{low}: {least} is above economy.{high} {largest}")
