"""How several processes share the work of one run."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting

SHARD = "shard"


@dataclass(kw_only=True)
class ParallelConfig:
    """What each of the processes started by torchrun or srun holds; one process alone holds everything."""

    weights: str = setting(
        "replicate",
        help="replicate: every process holds all weights, gradients and moments; shard: each a part of all of them",
        options=("replicate", SHARD),
    )
    experts: int = setting(
        1,
        help="processes side by side that run an equal share of every layer's experts each, for the tokens of all",
        low=1,
    )
