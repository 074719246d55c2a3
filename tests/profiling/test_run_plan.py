"""The plan against its own arithmetic, written out, and against what cannot fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from camoe.config import RunConfig
from camoe.profiling.device_kinds import KINDS, DeviceKind
from camoe.profiling.layouts import REPLICATE, SHARD, SHARD_IN_NODE, WITH_EXPERTS
from camoe.profiling.operation_counter import Operation, Operations
from camoe.profiling.plan_report import as_json, plan_report, verdict
from camoe.profiling.report import plain_text
from camoe.profiling.run_plan import DAY, MicroBatches, RunPlan
from camoe.profiling.step_work import MicroBatchWork
from tests.small_run import small_run

H200 = KINDS["h200"]
SHAPE: dict[str, Any] = {
    "model": {"n_embd": 64, "n_layer": 4, "head_size": 32},
    "train": {"ctx_len": 64, "micro_batch": 4, "grad_accum": 4},
}


@pytest.fixture(scope="module")
def run() -> RunConfig:
    """Sixteen sequences a step."""
    return small_run(**SHAPE)


@pytest.fixture(scope="module")
def simulated(run: RunConfig) -> MicroBatches:
    """Each micro-batch once for all tests."""
    return MicroBatches(run, "cuda")


@pytest.fixture(scope="module")
def plan(run: RunConfig, simulated: MicroBatches) -> RunPlan:
    """Two nodes."""
    return RunPlan(run, H200, 16, 8, simulated)


def _with_memory(share: float, plan: RunPlan, layout: str) -> DeviceKind:
    """A device on which a layout takes so large a share of what is usable."""
    (entry,) = (entry for entry in plan.layouts if entry.layout.name == layout)
    return replace(H200, memory=round(entry.layout.plan.total / 0.9 / share))


def test_every_layout_is_tried(plan: RunPlan) -> None:
    names = [entry.layout.name for entry in plan.layouts]
    assert names[:4] == [REPLICATE, SHARD, SHARD_IN_NODE, WITH_EXPERTS]
    assert all(entry.layout.plan.devices == 16 for entry in plan.layouts)
    assert plan.best is not None
    assert plan.best.layout.built


def test_a_step_is_computing_then_gathering_then_waiting(plan: RunPlan) -> None:
    for entry in plan.layouts:
        assert entry.links is not None
        assert entry.step == max(entry.compute, entry.links.gathered) + entry.links.waited
        assert entry.tokens_per_day == pytest.approx(DAY * 16 * 64 / entry.step)


def test_replicas_wait_for_their_gradients(plan: RunPlan) -> None:
    """A ring over two nodes of eight devices, twice: 7 of 8 links are faster, so the network bounds it."""
    replicated, sharded = plan.layouts[:2]
    stored = plan.cost.total_params
    assert replicated.links is not None
    assert replicated.links.gathered == 0
    assert H200.network is not None
    assert replicated.links.waited == pytest.approx(2 * 4 * stored * 15 / 16 / (8 * H200.network.achieved))
    assert sharded.links is not None
    assert sharded.links.waited == 0
    assert sharded.links.gathered == pytest.approx(3 * 4 * stored * 15 / 16 / (8 * H200.network.achieved))


def test_what_is_too_large_is_refused_with_its_largest_part(
    run: RunConfig, plan: RunPlan, simulated: MicroBatches
) -> None:
    small = RunPlan(run, _with_memory(1.1, plan, REPLICATE), 16, 8, simulated)
    refused = {entry.layout.name: entry.refusal for entry in small.layouts if entry.refusal}
    assert REPLICATE in refused
    assert SHARD not in refused
    assert "GB, " in refused[REPLICATE]
    tiny = RunPlan(run, replace(H200, memory=1000), 16, 8, simulated)
    assert tiny.best is None
    assert verdict(tiny).startswith("infeasible on 16 x h200")
    assert "infeasible" in plain_text(plan_report(tiny))


def test_the_fewest_devices_are_found(run: RunConfig, plan: RunPlan, simulated: MicroBatches) -> None:
    assert RunPlan(run, H200, None, 8, simulated).devices == 1
    kind = _with_memory(1.0, plan, SHARD)
    fewest = RunPlan(run, kind, None, 8, simulated).devices
    assert 1 < fewest <= 16
    assert RunPlan(run, kind, fewest, 8, simulated).best is not None
    assert RunPlan(run, kind, fewest // 2, 8, simulated).best is None


def test_sequences_that_cannot_be_shared_are_refused(run: RunConfig, simulated: MicroBatches) -> None:
    plan = RunPlan(run, H200, 3, 8, simulated)
    assert plan.best is None
    assert "cannot be shared equally by 3" in plan.layouts[0].refusal


def test_ranks_that_share_a_micro_batch_keep_less(plan: RunPlan, run: RunConfig, simulated: MicroBatches) -> None:
    one = RunPlan(run, H200, 1, 8, simulated).layouts[0]
    shared = plan.layouts[0]
    assert one.micro_batch is not None
    assert shared.micro_batch is not None
    assert (one.micro_batch.rows, one.rounds) == (4, 4)
    assert (shared.micro_batch.rows, shared.rounds) == (1, 1)
    assert shared.layout.plan.activations < 0.5 * one.layout.plan.activations


def test_recomputing_keeps_less_and_takes_longer(plan: RunPlan) -> None:
    costs = plan.recomputations()
    none, block = costs["none"], costs["block"]
    assert not isinstance(none, str)
    assert not isinstance(block, str)
    assert sum(block.memory.activations.values()) < 0.5 * sum(none.memory.activations.values())
    assert block.work.flops > 1.2 * none.work.flops


@pytest.mark.slow
def test_what_a_run_refuses_is_said() -> None:
    config = small_run("calibrated", economy={"credit": {"kind": "gradient"}}, **SHAPE)
    refusal = RunPlan(config, H200, 1, 8).recomputations()["block"]
    assert isinstance(refusal, str)
    assert refusal.startswith("economy.credit.kind: gradient")


@pytest.mark.parametrize(
    ("operation", "seconds"),
    [
        (Operation(int(H200.bf16.achieved), half=True, n_bytes=0), 1.0),
        (Operation(int(H200.fp32.achieved), half=False, n_bytes=0), 1.0),
        (Operation(1, half=True, n_bytes=int(H200.passes.achieved)), 1.0),
        (Operation(0, half=False, n_bytes=int(2 * H200.passes.achieved)), 2.0),
    ],
)
def test_an_operation_takes_what_bounds_it(operation: Operation, seconds: float) -> None:
    work = MicroBatchWork(Operations({operation: 1}), 0.0)
    assert work.seconds(H200).total == pytest.approx(seconds)
    assert work.seconds(replace(H200, ahead=False)).total == pytest.approx(seconds + 1 / H200.operation.achieved)


def test_products_of_a_library_of_their_own_take_its_time() -> None:
    slow = replace(H200, fp32_highest=replace(H200.fp32, achieved=H200.fp32.achieved / 4))
    product = Operations({Operation(int(H200.fp32.achieved), half=False, n_bytes=0): 1})
    seconds = {highest: MicroBatchWork(product, 0.0, highest).seconds(slow).products for highest in (False, True)}
    assert seconds == {False: pytest.approx(1.0), True: pytest.approx(4.0)}
    assert MicroBatchWork(product, 0.0, highest=True).seconds(H200).products == pytest.approx(1.0)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_the_library_is_the_one_that_the_run_chooses(precision: str) -> None:
    config = small_run("calibrated", kernel={"matmul_precision": precision}, **SHAPE)
    assert RunPlan(config, H200, 1, 8).micro_batch(2).work.highest == (precision == "highest")


def test_json_says_what_the_report_says(plan: RunPlan) -> None:
    content = json.loads(as_json(plan))
    assert content["chosen"] == plan.best.layout.name  # type: ignore[union-attr]
    assert [entry["name"] for entry in content["layouts"]] == [entry.layout.name for entry in plan.layouts]
    assert content["layouts"][0]["seconds"]["step"] == plan.layouts[0].step
    text = plain_text(plan_report(plan))
    assert max(map(len, text.splitlines())) <= 80
    assert content["chosen"] in text
