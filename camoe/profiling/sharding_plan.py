"""How a model's training state can be spread over devices, by arithmetic alone.

Experts are split over E-parallel ranks, every tensor over T-parallel ranks, and what is left of weights, gradients and
moments over the remaining ranks (fully sharded data parallel; Rajbhandari et al., "ZeRO", 2020, stage 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from camoe.model.rooms import ModelParts
from camoe.profiling.memory_estimate import MemoryEstimate

DEVICES = (80_000_000_000, 141_000_000_000)
"""Bytes of the devices to plan for: 80 GB (A100, H100) and 141 GB (H200)."""
USABLE = 0.9  # of a device; the rest is for the allocator, communication buffers and the context
MOST_DEVICES, MOST_TENSOR_RANKS = 2**20, 8
BYTES = 4  # of a weight and of its gradient: both are float32


@dataclass(frozen=True)
class ShardedModel:
    """What there is to spread: parameters of routed experts and of all else, and what one micro-batch keeps.

    unit_experts, unit_rest: the most of either that is gathered at once, by a block or by the embedding. moments:
    numbers of the optimiser per parameter, in float32. activations: bytes of one micro-batch on one rank.
    """

    experts: int
    rest: int
    unit_experts: int
    unit_rest: int
    n_expert: int
    moments: float
    activations: int

    @classmethod
    def of(cls, model: ModelParts, moments: float, activations: int) -> ShardedModel:
        """A model that may lie on the meta device."""
        blocks = [_experts_and_rest(block) for block in model.blocks]
        experts = sum(of_block for of_block, _ in blocks)
        stored = sum(parameter.numel() for parameter in model.parameters())
        unit_experts, unit_rest = (max(parts) for parts in zip(*blocks, strict=True))
        unit_rest = max(unit_rest, model.emb.weight.numel())
        return cls(experts, stored - experts, unit_experts, unit_rest, model.config.experts.total, moments, activations)


def to_shard(model: ModelParts, memory: MemoryEstimate) -> ShardedModel:
    """What the model's training state consists of; each rank reads micro-batches of its own."""
    beside = memory.optimizer + memory.weights - memory.gradients  # moments, and the average of the weights
    return ShardedModel.of(model, beside / memory.gradients, memory.beside_state)


@dataclass(frozen=True)
class ShardingPlan:
    """Ranks of each kind, whose product is the number of devices, and bytes on each device.

    replicas: how often everything is there. Neighbours are tensor ranks, then expert ranks, then shards, then replicas.
    """

    expert_ranks: int
    tensor_ranks: int
    sharded_ranks: int
    replicas: int
    weights: float
    gradients: float
    moments: float
    gathered: float
    activations: float

    @property
    def devices(self) -> int:
        """How many."""
        return self.expert_ranks * self.tensor_ranks * self.sharded_ranks * self.replicas

    @property
    def data_ranks(self) -> int:
        """Ranks that read sequences of their own."""
        return self.devices // self.tensor_ranks

    @property
    def parts(self) -> dict[str, float]:
        """Bytes on each device by what they hold, and their sum."""
        return {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimiser": self.moments,
            "gathered block": self.gathered,
            "activations": self.activations,
            "sum": self.total,
        }

    @property
    def total(self) -> float:
        """Bytes needed on each device."""
        return self.weights + self.gradients + self.moments + self.gathered + self.activations


def sharding_plan(model: ShardedModel, device: int) -> ShardingPlan | None:
    """The plan with the fewest devices of `device` bytes, then the fewest tensor ranks; None where none is enough.

    Only powers of two are tried, up to MOST_DEVICES devices.
    """
    fits = (plan for plan in _plans(model) if plan.total <= USABLE * device)
    return next(fits, None)


def _plans(model: ShardedModel) -> Iterator[ShardingPlan]:
    devices = 1
    while devices <= MOST_DEVICES:
        tensor = 1
        while tensor <= min(devices, MOST_TENSOR_RANKS):
            yield _plan(model, devices, tensor)
            tensor *= 2
        devices *= 2


def _plan(model: ShardedModel, devices: int, tensor: int) -> ShardingPlan:
    """As many expert ranks as divide both the experts and the devices that tensor ranks leave."""
    groups = devices // tensor
    experts = largest_expert_ranks(model.n_expert, groups)
    return spread(model, experts=experts, tensor=tensor, sharded=groups // experts)


def largest_expert_ranks(n_expert: int, groups: int) -> int:
    """The most ranks that divide both the experts and the groups."""
    return max(ranks for ranks in range(1, n_expert + 1) if n_expert % ranks == 0 == groups % ranks)


def spread(
    model: ShardedModel, *, experts: int = 1, tensor: int = 1, sharded: int = 1, replicas: int = 1
) -> ShardingPlan:
    """The bytes on each device with so many ranks of each kind."""
    weights = BYTES * (model.experts + model.rest) / (experts * tensor * sharded)
    gathered = 0.0
    if experts * sharded > 1:
        gathered += model.unit_rest / tensor
    if sharded > 1:
        gathered += model.unit_experts / (experts * tensor)
    return ShardingPlan(
        experts,
        tensor,
        sharded,
        replicas,
        weights=weights,
        gradients=weights,
        moments=model.moments * weights,
        gathered=2 * BYTES * gathered,  # weights, and gradients before they are spread
        activations=model.activations / tensor,
    )


def _experts_and_rest(block: nn.Module) -> tuple[int, int]:
    """Parameters of a block's routed experts, and of all else in it."""
    experts = sum(p.numel() for expert in block.mixture.expert_list() for p in expert.parameters())  # type: ignore[operator, union-attr]
    return experts, sum(parameter.numel() for parameter in block.parameters()) - experts
