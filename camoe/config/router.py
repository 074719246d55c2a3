"""How winners are elected and weighed."""

from __future__ import annotations

from dataclasses import dataclass, field

from camoe.config.balance_loss import LossesConfig
from camoe.config.capacity import CapacityConfig
from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

BIDDING_ROUTERS = ("dual_path", "market_only")
"""Those that an economy's market may bid through."""
WITHOUT_GATE = ("token_modulo", "token_hash", "random", "dense")
STATIC = (*WITHOUT_GATE, "frozen")
"""Declared static: nothing about their elections is learned, and no loss is on them."""
NOT_CAUSAL = ("expert_choice", "soft_moe")
"""Later tokens move their elections, also in evaluation: upper bounds, no rivals."""
LEARNED = (
    *("topk", "learned_soft", "modulo_prior"),
    *("loss_free", "quantile", "sinkhorn", "base", "remoe", "expert_threshold"),
    *NOT_CAUSAL,
)
ROUTERS = (*BIDDING_ROUTERS, *LEARNED, *STATIC)
TRAINED_BY_BATCH = (*NOT_CAUSAL, "sinkhorn", "base")
"""Later tokens move their elections in training."""
RANKING_ROUTERS = (*BIDDING_ROUTERS, "topk", "loss_free", "quantile")
"""Those in which experts win by their rank, so that a token has a next choice."""

WITHOUT_CROWDS = (*NOT_CAUSAL, "base", "dense", "learned_soft")
"""Those in which every expert serves as many tokens as any other, so that a capacity has nothing to limit."""


@dataclass(kw_only=True)
class RouterConfig:
    """The election rule, its noise and the auxiliary losses."""

    kind: str = setting("dual_path", help="rule that elects and weighs the winners", options=ROUTERS)
    top_k: int = setting(2, help="winners per token, k", low=1)
    gate_hidden: int = setting(64, help="hidden width of each expert's confidence net", low=1)
    gate_activation: str = setting(
        "sigmoid", help="sigmoid (published, weights stay in 0.27..0.73) or identity", options=("sigmoid", "identity")
    )
    noise_std: float = setting(0.03, help="Gaussian noise on the adjusted logits, training only", low=0)
    losses: LossesConfig = field(default_factory=LossesConfig, metadata={"help": "auxiliary losses on the gate"})
    capacity: CapacityConfig = field(
        default_factory=CapacityConfig, metadata={"help": "limited places at every expert"}
    )

    def __post_init__(self) -> None:
        if self.capacity.mode != "off" and self.kind in WITHOUT_CROWDS:
            raise ConfigError(
                f"router.capacity.mode: {self.capacity.mode} finds no crowded expert under router.kind {self.kind}, "
                "whose experts all serve alike; must be off"
            )
        if self.capacity.mode == "reroute" and self.kind not in RANKING_ROUTERS:
            raise ConfigError(
                f"router.capacity.mode: reroute needs a next choice, which router.kind {self.kind} does not have; "
                f"choose drop or observe, or one of router={', '.join(RANKING_ROUTERS)}"
            )

    @property
    def learns(self) -> bool:
        """Whether losses train the router; false: it is declared static."""
        return self.kind not in STATIC

    @property
    def causal(self) -> bool:
        """Whether evaluation and generation decide on a token without those that follow it."""
        return self.kind not in NOT_CAUSAL

    @property
    def trains_causally(self) -> bool:
        """The same of training."""
        return self.kind not in TRAINED_BY_BATCH and self.capacity.causal

    @property
    def draws_noise(self) -> bool:
        """Whether elections of training need random numbers."""
        return self.kind == "random" or (self.kind not in WITHOUT_GATE and self.noise_std > 0)
