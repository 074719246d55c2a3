"""How a run's ranks share its weights and its experts' work: refused where they cannot, else arranged."""

from __future__ import annotations

import torch

from camoe.config import ConfigError
from camoe.config.parallel import SHARD, ParallelConfig
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.training.held_weights import WHOLE, HeldWeights


def check_parallel(config: ParallelConfig, device: torch.device, ranks: Ranks) -> None:
    """Refuse what these ranks cannot do."""
    if ranks.count > 1 and ranks.count % config.experts:
        raise ConfigError(
            f"parallel.experts: {ranks.count} processes make no groups of {config.experts}; must be a divisor of their "
            "number"
        )
    if config.weights == SHARD and device.type == "cuda" and ranks.count > 1 and not ranks.connects_gpus:
        raise ConfigError(
            "parallel.weights: shard needs a GPU for each process, connected by nccl; start one process per GPU, or "
            "choose parallel.weights=replicate"
        )


def hold_weights(config: ParallelConfig, model: LanguageModel, ranks: Ranks) -> HeldWeights:
    """Leave the model as it is, or divide its parameters and the work of its experts among the ranks, in place."""
    if ranks.count == 1:
        return WHOLE
    exchange = None
    if config.experts > 1:
        from camoe.training.expert_exchange import GroupExchange

        exchange = GroupExchange(ranks, config.experts)
    if config.weights != SHARD:
        return HeldWeights(model, exchange)
    from camoe.training.divided_weights import DividedWeights  # torch.distributed's tensors are slow to import

    return DividedWeights(model, exchange)
