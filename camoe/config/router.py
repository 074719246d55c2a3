"""How winners are elected and weighed."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting

BIDDING_ROUTERS = ("dual_path", "market_only")
"""Those that an economy's market may bid through."""
ROUTERS = (*BIDDING_ROUTERS, "topk")


@dataclass(kw_only=True)
class RouterConfig:
    """The election rule, its noise and the load-balance loss."""

    kind: str = setting("dual_path", help="rule that elects and weighs the winners", options=ROUTERS)
    top_k: int = setting(2, help="winners per token, k", low=1)
    gate_hidden: int = setting(64, help="hidden width of each expert's confidence net", low=1)
    gate_activation: str = setting(
        "sigmoid", help="sigmoid (published, weights stay in 0.27..0.73) or identity", options=("sigmoid", "identity")
    )
    noise_std: float = setting(0.03, help="Gaussian noise on the adjusted logits, training only", low=0)
    balance_coefficient: float = setting(0.05, help="weight of the Switch load-balance loss E*sum(f_e P_e)", low=0)
    balance_differentiable: bool = setting(
        True, help="P_e from the gate's softmax; false: the published count-only form, which has no gradient"
    )
