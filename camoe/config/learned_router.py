"""Settings of the routers that learn whom to choose, without a market."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.router import ROUTERS, RouterConfig
from camoe.config.setting import setting


@dataclass(kw_only=True)
class GateConfig(RouterConfig):
    """The gate and training's noise on it."""

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
class LearnedRouterConfig(GateConfig):
    """router=topk: experts win by their scores, and the scores weigh them."""

    kind: str = setting("topk", help="rule that elects and weighs the winners", options=ROUTERS)

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
