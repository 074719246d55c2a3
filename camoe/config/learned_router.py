"""Settings of the routers that learn whom to choose, without a market."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from camoe.config.balance_loss import LossesConfig, SwitchLossConfig
from camoe.config.refusal import ConfigError
from camoe.config.router import ROUTERS, RouterConfig
from camoe.config.setting import setting


def published_losses() -> LossesConfig:
    """Switch's loss with the weight of Switch Transformers and OLMoE."""
    return LossesConfig(switch=SwitchLossConfig(weight=0.01))


def no_losses() -> LossesConfig:
    """None: something else balances the router."""
    return LossesConfig(switch=SwitchLossConfig(weight=0.0))


@dataclass(kw_only=True)
class GateConfig(RouterConfig):
    """The gate."""

    gate: str = setting(
        "confidence",
        help="confidence: each expert's own net, as dual_path has; linear: one matrix, as published routers have",
        options=("confidence", "linear"),
    )
    gate_activation: str = setting(
        "identity",
        help="what follows the confidence nets: identity, or sigmoid (logits stay in 0..1)",
        options=("identity", "sigmoid"),
    )


@dataclass(kw_only=True)
class NoisyGateConfig(GateConfig):
    """Training's noise on the gate; all that router=learned_soft needs."""

    noise: str = setting(
        "gaussian",
        help="training's noise on the logits: gaussian adds, jitter multiplies, dropout sets single ones to 0",
        options=("gaussian", "jitter", "dropout"),
    )
    noise_std: float = setting(
        0.0, help="its strength: standard deviation, half-width of the jitter, or probability of dropout", low=0
    )
    noise_target: str = setting(
        "selection",
        help="what hears the noise: the selection alone, or the winners' weights too",
        options=("selection", "selection_and_weights"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise == "dropout" and self.noise_std >= 1:
            raise ConfigError(f"router.noise_std: {self.noise_std:g} is no probability of dropout; must be below 1")


@dataclass(kw_only=True)
class FlopsTargetConfig:
    """A price of compute, which routers have whose rule leaves the experts' loads free."""

    flops_target: float | None = setting(
        None, help="FLOPs per token aimed at, as a multiple of those under an even load; null: none", above=0
    )
    flops_rule: str = setting(
        "equal",
        help="equal: dear experts are priced down or up; at_most: only down",
        options=("equal", "at_most"),
    )
    flops_gain: float | None = setting(
        None, help="price per step and unit of relative excess; null: by how far the experts' costs differ", above=0
    )
    fixed_k: ClassVar[bool] = True
    """Whether experts win against each other, so that a price common to all moves nothing."""


@dataclass(kw_only=True)
class LearnedRouterConfig(NoisyGateConfig, FlopsTargetConfig):
    """router=topk and router=frozen: experts win by their scores, and the scores weigh them."""

    kind: str = setting("topk", help="rule that elects and weighs the winners", options=ROUTERS)
    losses: LossesConfig = field(default_factory=published_losses, metadata={"help": "auxiliary losses on the gate"})

    score: str = setting(
        "softmax", help="score of an expert, from the logits of all or from its own", options=("softmax", "sigmoid")
    )
    weights: str = setting(
        "renormalized",
        help="renormalized: winners' scores over their sum (with one winner its score); raw: the scores",
        options=("renormalized", "raw"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score == "sigmoid" and self.gate == "confidence" and self.gate_activation == "sigmoid":
            raise ConfigError(
                "router.score: sigmoid of a gate whose router.gate_activation is sigmoid already; "
                "choose router.gate_activation=identity or router.score=softmax"
            )


@dataclass(kw_only=True)
class LossFreeConfig(LearnedRouterConfig):
    """router=loss_free: a bias on the scores moves against the load of the step before."""

    kind: str = setting("loss_free", help="rule that elects and weighs the winners", options=ROUTERS)
    losses: LossesConfig = field(default_factory=no_losses, metadata={"help": "auxiliary losses on the gate"})
    score: str = setting(
        "sigmoid", help="score of an expert, from the logits of all or from its own", options=("softmax", "sigmoid")
    )
    bias_rule: str = setting(
        "sign",
        help="sign: a step against the load's side of its target; centered: less its mean; momentum: by averaged load",
        options=("sign", "centered", "momentum"),
    )
    bias_step: float = setting(
        1e-3, help="g, per optimiser step; times the number of steps it should exceed 1", above=0
    )
    bias_momentum: float = setting(0.9, help="share of the averaged load that a step keeps", low=0, high=1)
    bias_max: float = setting(2.0, help="largest bias of the momentum rule", above=0)
    bias_warmup: int = setting(100, help="steps in which the momentum rule only averages", low=0)


@dataclass(kw_only=True)
class QuantileConfig(LearnedRouterConfig):
    """router=quantile: prices at which the step before would have been balanced."""

    kind: str = setting("quantile", help="rule that elects and weighs the winners", options=ROUTERS)
    losses: LossesConfig = field(default_factory=no_losses, metadata={"help": "auxiliary losses on the gate"})


@dataclass(kw_only=True)
class ModuloPriorConfig(LearnedRouterConfig):
    """router=modulo_prior: the token's id names an expert, and the gate has to speak up against it."""

    kind: str = setting("modulo_prior", help="rule that elects and weighs the winners", options=ROUTERS)
    prior_strength: float = setting(10.0, help="added to the logit of the expert that the token's id names", low=0)


@dataclass(kw_only=True)
class SinkhornConfig(NoisyGateConfig):
    """router=sinkhorn: Sinkhorn's scaling balances training."""

    kind: str = setting("sinkhorn", help="rule that elects and weighs the winners", options=ROUTERS)
    losses: LossesConfig = field(default_factory=no_losses, metadata={"help": "auxiliary losses on the gate"})
    iterations: int = setting(50, help="scalings of rows and columns per election", low=1)


@dataclass(kw_only=True)
class BaseConfig(RouterConfig):
    """router=base: balanced assignment in training; its gate is one centroid per expert."""

    kind: str = setting("base", help="rule that elects and weighs the winners", options=ROUTERS)
    top_k: int = setting(1, help="winners per token, k; 1 under this rule", low=1)
    noise_std: float = setting(0.0, help="none under this rule", low=0)
    losses: LossesConfig = field(default_factory=no_losses, metadata={"help": "auxiliary losses on the gate"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k != 1:
            raise ConfigError(
                f"router.top_k: {self.top_k} with router.kind base, which assigns every token to one expert; must be 1"
            )


@dataclass(kw_only=True)
class QuietGateConfig(GateConfig):
    """A gate whose elections have no noise, and no auxiliary losses beside the rule's own."""

    noise_std: float = setting(0.0, help="none under this rule", low=0)
    losses: LossesConfig = field(default_factory=no_losses, metadata={"help": "auxiliary losses on the gate"})


@dataclass(kw_only=True)
class ReMoEConfig(QuietGateConfig, FlopsTargetConfig):
    """router=remoe: experts with a positive logit serve, top_k of them on average."""

    kind: str = setting("remoe", help="rule that elects and weighs the winners", options=ROUTERS)
    top_k: int = setting(2, help="winners per token on average, k", low=1)
    l1_init: float = setting(1e-8, help="weight of the L1 loss at the start", above=0)
    l1_factor: float = setting(1.2, help="factor of that weight per optimiser step, up or down", above=1)

    fixed_k: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gate == "confidence" and self.gate_activation == "sigmoid":
            raise ConfigError(
                "router.gate_activation: sigmoid is always positive, but router.kind remoe lets experts serve whose "
                "logit is; choose identity"
            )


@dataclass(kw_only=True)
class ExpertThresholdConfig(QuietGateConfig, FlopsTargetConfig):
    """router=expert_threshold: experts serve whose logit beats their own threshold, top_k of them on average."""

    kind: str = setting("expert_threshold", help="rule that elects and weighs the winners", options=ROUTERS)
    top_k: int = setting(2, help="winners per token on average, k", low=1)
    threshold_momentum: float = setting(0.9, help="share of the thresholds that a step keeps", low=0, high=1)

    fixed_k: ClassVar[bool] = False


@dataclass(kw_only=True)
class ExpertChoiceConfig(QuietGateConfig):
    """router=expert_choice: experts take the tokens they want most; not causal."""

    kind: str = setting("expert_choice", help="rule that elects and weighs the winners", options=ROUTERS)
    top_k: int = setting(2, help="winners per token on average, k", low=1)
    choice_factor: float = setting(1.0, help="tokens that an expert takes, over those of an even load", above=0)


@dataclass(kw_only=True)
class SoftMoEConfig(RouterConfig):
    """router=soft_moe: experts run on mixtures of a sequence's tokens; not causal."""

    kind: str = setting("soft_moe", help="rule that elects and weighs the winners", options=ROUTERS)
    noise_std: float = setting(0.0, help="none under this rule", low=0)
    losses: LossesConfig = field(default_factory=no_losses, metadata={"help": "auxiliary losses on the gate"})
    slots: int = setting(64, help="slots per expert; train.ctx_len * top_k / experts costs what top-k costs", low=1)


LEARNED_SCHEMAS: dict[str, type[RouterConfig]] = {
    "topk": LearnedRouterConfig,
    "learned_soft": NoisyGateConfig,
    "modulo_prior": ModuloPriorConfig,
    "frozen": LearnedRouterConfig,
    "loss_free": LossFreeConfig,
    "quantile": QuantileConfig,
    "sinkhorn": SinkhornConfig,
    "base": BaseConfig,
    "remoe": ReMoEConfig,
    "expert_threshold": ExpertThresholdConfig,
    "expert_choice": ExpertChoiceConfig,
    "soft_moe": SoftMoEConfig,
}
