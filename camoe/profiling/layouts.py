"""The ways to lay a training run over so many devices of so many to a node, and what each of them sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from camoe.config import RunConfig
from camoe.config.parallel import SHARD
from camoe.profiling.device_kinds import DeviceKind
from camoe.profiling.sharding_plan import (
    BYTES,
    MOST_TENSOR_RANKS,
    ShardedModel,
    ShardingPlan,
    largest_expert_ranks,
    spread,
)

REPLICATE = "replicate"
SHARD_IN_NODE, WITH_EXPERTS = "shard in node, replicate", "shard, experts"
BUILT = (REPLICATE, SHARD)
"""What job=train can do, by parallel.weights; the others are arithmetic."""


@dataclass(frozen=True)
class Layout:
    """name: of the way. plan: its ranks, and bytes on each device."""

    name: str
    plan: ShardingPlan

    @property
    def built(self) -> bool:
        """Whether job=train can do it; on one device all are the same."""
        return self.name in BUILT or self.plan.devices == 1


def layouts(model: ShardedModel, devices: int, per_node: int) -> Iterator[Layout]:
    """All ways that differ, simplest first."""
    yield Layout(REPLICATE, spread(model, replicas=devices))
    if devices == 1:
        return
    yield Layout(SHARD, spread(model, sharded=devices))
    if devices > per_node and devices % per_node == 0:
        yield Layout(SHARD_IN_NODE, spread(model, sharded=per_node, replicas=devices // per_node))
    tensor = 1
    while tensor <= MOST_TENSOR_RANKS and devices % tensor == 0:
        groups = devices // tensor
        experts = largest_expert_ranks(model.n_expert, groups)
        if experts * tensor > 1:
            name = WITH_EXPERTS if tensor == 1 else f"{WITH_EXPERTS}, tensor {tensor}"
            yield Layout(name, spread(model, experts=experts, tensor=tensor, sharded=groups // experts))
        tensor *= 2


@dataclass(frozen=True)
class LinkSeconds:
    """Of one step. gathered: weights gathered and gradients spread, which can go on while a device computes.

    waited: what a device waits for: gradients of replicas after the last micro-batch, tokens on their way to experts
    and back, sums of tensor ranks.
    """

    gathered: float
    waited: float


def link_seconds(
    plan: ShardingPlan, model: ShardedModel, config: RunConfig, device: DeviceKind, per_node: int, *, rows: int
) -> LinkSeconds:
    """For one optimiser step in micro-batches of `rows` sequences on each rank."""
    links = _Links(plan, device, per_node)
    rounds = config.train.micro_batch * config.train.grad_accum // (plan.data_ranks * rows)
    tensor, experts = plan.tensor_ranks, plan.expert_ranks
    rest = links.gather(BYTES * model.rest / tensor, plan.sharded_ranks * experts, tensor)
    routed = links.gather(BYTES * model.experts / (tensor * experts), plan.sharded_ranks, tensor * experts)
    passes = 4 + 2 * (config.train.recompute == "block")  # two ways forward, two backward, forward again
    token = (2 if config.train.precision == "bf16" else 4) * config.model.n_embd
    through = rows * config.train.ctx_len * token * config.model.n_layer * passes
    sent = links.exchange(through * config.router.top_k / tensor, experts, tensor)
    summed = 2 * links.gather(through / 2, tensor, 1)  # one sum after the mixer and one after the experts
    last = 2 * links.gather(plan.gradients, plan.replicas, plan.devices // plan.replicas)
    # Weights are gathered before each pass, gradients are spread after the second.
    return LinkSeconds(rounds * 3 * (rest + routed), rounds * (sent + 2 * summed) + last)


@dataclass(frozen=True)
class _Links:
    """Seconds of collective operations in a group of ranks that lie `stride` devices apart."""

    plan: ShardingPlan
    device: DeviceKind
    per_node: int

    def gather(self, n_bytes: float, ranks: int, stride: int) -> float:
        """All ranks end with all bytes, or begin with them and each ends with a part (ring: Patarasuk, Yuan, 2009)."""
        return n_bytes * (ranks - 1) / ranks / self._rate(ranks, stride) if ranks > 1 else 0.0

    def exchange(self, n_bytes: float, ranks: int, stride: int) -> float:
        """Each rank sends an equal part of its bytes to every other."""
        return n_bytes * (ranks - 1) / ranks / self._rate(ranks, stride, ring=False) if ranks > 1 else 0.0

    def _rate(self, ranks: int, stride: int, *, ring: bool = True) -> float:
        """Bytes per second; in a ring over nodes, a group's devices in a node send through all their links in turn."""
        assert self.device.node is not None
        assert self.device.network is not None
        together = min(ranks, max(1, self.per_node // stride))
        if together == ranks:
            return self.device.node.achieved
        across = self.device.network.achieved * (together if ring else 1)
        return min(across, self.device.node.achieved) if together > 1 else across
