"""Auxiliary losses on the gate: one weight each, and over which tokens load is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from camoe.config.setting import setting

SCOPES = ("sequence", "micro_batch", "global_batch")


def _scope() -> Any:
    return setting("micro_batch", help="tokens over which the load f_e is counted", options=SCOPES)


@dataclass(kw_only=True)
class SwitchLossConfig:
    """Switch's E sum_e f_e P_e."""

    weight: float = setting(0.05, help="weight of the Switch load-balance loss E*sum(f_e P_e)", low=0)
    scope: str = _scope()


@dataclass(kw_only=True)
class CostLossConfig:
    """The same with every expert's load counted by what the expert costs."""

    weight: float = setting(0.0, help="weight of E*sum(c_e f_e P_e), c_e = FLOPs of expert e over their mean", low=0)
    scope: str = _scope()


@dataclass(kw_only=True)
class ZLossConfig:
    """Keeps the gate's logits small; a mean over tokens, which no scope changes."""

    weight: float = setting(0.0, help="weight of the z-loss on the gate's logits", low=0)
    kind: str = setting(
        "logsumexp",
        help="logsumexp: square of each token's logsumexp (ST-MoE); mean_square: mean square of its logits (CDRmix)",
        options=("logsumexp", "mean_square"),
    )


@dataclass(kw_only=True)
class LossesConfig:
    """The auxiliary losses of a run; a weight of 0 leaves one out."""

    switch: SwitchLossConfig = field(default_factory=SwitchLossConfig, metadata={"help": "evens out load"})
    z: ZLossConfig = field(default_factory=ZLossConfig, metadata={"help": "keeps logits small"})
    cost: CostLossConfig = field(default_factory=CostLossConfig, metadata={"help": "makes dear experts rarer"})

    @property
    def counts_globally(self) -> bool:
        """Whether a loss needs the load of the whole optimiser step."""
        return any(loss.weight and loss.scope == "global_batch" for loss in (self.switch, self.cost))
