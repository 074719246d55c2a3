"""What a run would need on devices that nobody need have: memory, seconds, tokens per day, and which layout fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from camoe.config import ConfigError, RunConfig
from camoe.kernels.wkv7 import choose_backend
from camoe.model.cost import ModelCost, model_cost
from camoe.model.language_model import LanguageModel
from camoe.profiling.device_kinds import DeviceKind
from camoe.profiling.layouts import Layout, LinkSeconds, layouts, link_seconds
from camoe.profiling.memory_estimate import MemoryEstimate, memory_of
from camoe.profiling.sharding_plan import BYTES, USABLE, ShardedModel, to_shard
from camoe.profiling.simulated_step import SimulatedStep
from camoe.profiling.step_work import MicroBatchWork, Seconds, update_seconds
from camoe.training.batch_share import BatchShare

DAY = 86_400
MOST_DEVICES = 2**16
RECOMPUTE = ("none", "time_mix", "block")


@dataclass(frozen=True)
class MicroBatchCost:
    """What `rows` sequences on one device need and do, and how long it takes there."""

    rows: int
    memory: MemoryEstimate
    work: MicroBatchWork
    seconds: Seconds


class MicroBatches:
    """Simulated micro-batches of a run, of any number of sequences, each simulated once."""

    def __init__(self, config: RunConfig, wkv_backend: str) -> None:
        self._config, self._wkv_backend = config, wkv_backend
        self._known: dict[tuple[int, str], tuple[MemoryEstimate, MicroBatchWork]] = {}

    def simulated(self, rows: int, recompute: str) -> tuple[MemoryEstimate, MicroBatchWork]:
        """Of so many sequences; ConfigError where the run refuses to recompute so."""
        if (rows, recompute) not in self._known:
            train = replace(self._config.train, micro_batch=rows, recompute=recompute)
            config = replace(self._config, train=train)
            run = SimulatedStep(config, self._wkv_backend)
            self._known[rows, recompute] = memory_of(run), MicroBatchWork.of(run, config)
        return self._known[rows, recompute]


@dataclass(frozen=True)
class LayoutPlan:
    """A layout and what a step of it takes; `refusal`: why it cannot be, else seconds and tokens per day."""

    layout: Layout
    refusal: str = ""
    micro_batch: MicroBatchCost | None = None
    rounds: int = 0
    update: float = 0.0
    links: LinkSeconds | None = None
    tokens_per_step: int = 0

    @property
    def compute(self) -> float:
        """Seconds that a device computes in one step."""
        assert self.micro_batch is not None
        return self.rounds * self.micro_batch.seconds.total / self.layout.plan.tensor_ranks + self.update

    @property
    def step(self) -> float:
        """Seconds of one step: gathering hides behind computing, or computing behind it; waiting adds to both."""
        assert self.links is not None
        return max(self.compute, self.links.gathered) + self.links.waited

    @property
    def tokens_per_day(self) -> float:
        """Of all devices together."""
        return DAY * self.tokens_per_step / self.step


class RunPlan:
    """The plan of one run for one kind of device, `devices` of them (None: the fewest that fit), `per_node` to a node.

    Nothing is allocated: the model lies on the meta device, its micro-batch is simulated on fake tensors.
    """

    def __init__(
        self,
        config: RunConfig,
        kind: DeviceKind,
        devices: int | None,
        per_node: int,
        micro_batches: MicroBatches | None = None,
    ) -> None:
        self.config, self.kind, self.per_node = config, kind, per_node
        wkv = choose_backend("auto", "cpu").name if kind.name == "cpu" else "cuda"
        self._micro_batches = micro_batches or MicroBatches(config, wkv)
        with torch.device("meta"):
            self.model = LanguageModel(config)
        self.devices = devices or self._fewest()

    @cached_property
    def cost(self) -> ModelCost:
        """Parameters and FLOPs."""
        return model_cost(self.model)

    @cached_property
    def layouts(self) -> list[LayoutPlan]:
        """All ways over these devices."""
        return [self._plan(layout) for layout in self._layouts(self.devices)]

    @property
    def best(self) -> LayoutPlan | None:
        """The fastest layout that fits and is built, else the fastest that fits; None where none does."""
        fitting = [plan for plan in self.layouts if not plan.refusal]
        return min(fitting, key=lambda plan: (not plan.layout.built, plan.step), default=None)

    def recomputations(self) -> dict[str, MicroBatchCost | str]:
        """What each way to recompute costs for a micro-batch of the best layout, or why this run refuses it."""
        rows = self.best.micro_batch.rows if self.best and self.best.micro_batch else self.config.train.micro_batch
        costs: dict[str, MicroBatchCost | str] = {}
        for recompute in RECOMPUTE:
            try:
                costs[recompute] = self.micro_batch(rows, recompute)
            except ConfigError as refusal:
                costs[recompute] = str(refusal)
        return costs

    def micro_batch(self, rows: int, recompute: str | None = None) -> MicroBatchCost:
        """The cost of so many sequences, recomputed as the run says or otherwise."""
        memory, work = self._micro_batches.simulated(rows, recompute or self.config.train.recompute)
        return MicroBatchCost(rows, memory, work, work.seconds(self.kind))

    def _rows(self, data_ranks: int) -> int:
        """Sequences of a rank's micro-batch; ConfigError where a step cannot be shared so."""
        return self.config.train.micro_batch // BatchShare.of(self.config.train, 0, data_ranks).sharers

    def _layouts(self, devices: int) -> Iterator[Layout]:
        return layouts(self._to_shard, devices, self.per_node)

    @cached_property
    def _to_shard(self) -> ShardedModel:
        """What there is to spread, with a whole micro-batch on each device."""
        return to_shard(self.model, self.micro_batch(self.config.train.micro_batch).memory)

    def _plan(self, layout: Layout) -> LayoutPlan:
        """The layout with the activations of its own share of a micro-batch."""
        try:
            rows = self._rows(layout.plan.data_ranks)
        except ConfigError as refusal:
            return LayoutPlan(layout, refusal=_in_short(refusal))
        kept = self.micro_batch(rows).memory.beside_state / layout.plan.tensor_ranks
        layout = replace(layout, plan=replace(layout.plan, activations=kept))
        if layout.plan.total > USABLE * self.kind.memory:
            return LayoutPlan(layout, refusal=_too_large(layout, self.kind))
        train, plan = self.config.train, layout.plan
        sequences = train.micro_batch * train.grad_accum
        links = LinkSeconds(0.0, 0.0)
        if plan.devices > 1:
            links = link_seconds(plan, self._to_shard, self.config, self.kind, self.per_node, rows=rows)
        return LayoutPlan(
            layout,
            micro_batch=self.micro_batch(rows),
            rounds=sequences // (plan.data_ranks * rows),
            update=update_seconds(self.config, plan.weights / BYTES, self.kind),
            links=links,
            tokens_per_step=sequences * train.ctx_len,
        )

    def _fewest(self) -> int:
        """The least power of two of devices that any layout fits; 1 where none does."""
        devices = 1
        while devices <= MOST_DEVICES:
            if any(not self._plan(layout).refusal for layout in self._layouts(devices)):
                return devices
            devices *= 2
        return 1


def _too_large(layout: Layout, kind: DeviceKind) -> str:
    """What is too large, and its largest part."""
    plan = layout.plan
    parts = {
        "weights": plan.weights,
        "gradients": plan.gradients,
        "optimiser": plan.moments,
        "gathered block": plan.gathered,
        "activations": plan.activations,
    }
    name = max(parts, key=lambda part: parts[part])
    usable = USABLE * kind.memory
    return f"needs {plan.total / 1e9:,.0f} of {usable / 1e9:,.0f} GB, {parts[name] / 1e9:,.0f} of them {name}"


def _in_short(refusal: ConfigError) -> str:
    return str(refusal).partition(": ")[2].partition(";")[0]
