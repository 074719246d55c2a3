"""The plan as a person reads it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from camoe.profiling.device_kinds import DeviceKind, Figure
from camoe.profiling.report import headed_table, section
from camoe.profiling.run_plan import LayoutPlan, MicroBatchCost, RunPlan
from camoe.profiling.sharding_plan import USABLE
from camoe.tracking.short_number import short_number

PRODUCTS = dict.fromkeys(("fp32", "fp32_highest", "bf16"), "FLOP/s")
UNITS = {**PRODUCTS, "recurrence": "multiply-adds/s", "operation": "operations/s"}


def plan_report(plan: RunPlan) -> list[RenderableType]:
    """All parts."""
    return [
        _kind(plan.kind),
        _micro_batches(plan.recomputations(), plan.config.train.recompute),
        _layouts(plan),
        *([_chosen(plan.best, plan.kind)] if plan.best else []),
        Text(verdict(plan)),
    ]


def verdict(plan: RunPlan) -> str:
    """One line: which layout, how long a step, how many tokens a day; or that none fits."""
    cost, best = plan.cost, plan.best
    size = f"{short_number(cost.total_params)} parameters, {short_number(cost.active_params)} active"
    where = f"{plan.devices:,} x {plan.kind.name}"
    if best is None:
        return f"infeasible on {where}: {size}; every layout is refused above"
    kept = "" if best.layout.built else " (no job does this yet)"
    return (
        f"{best.layout.name}{kept} on {where}: {size}; {best.step:,.3g} s a step of {best.tokens_per_step:,} tokens, "
        f"{short_number(best.tokens_per_day)} tokens a day, {_utilisation(plan, best):.0%} of the devices' peak"
    )


def as_json(plan: RunPlan) -> str:
    """Everything that the report tells, in bytes, seconds and FLOP/s."""
    costs = {
        name: cost if isinstance(cost, str) else _micro_batch_values(cost)
        for name, cost in plan.recomputations().items()
    }
    content = {
        "device": asdict(plan.kind),
        "devices": plan.devices,
        "per_node": plan.per_node,
        "usable_share": USABLE,
        "parameters": plan.cost.total_params,
        "active_parameters": plan.cost.active_params,
        "micro_batch": costs,
        "layouts": [_layout_values(layout) for layout in plan.layouts],
        "chosen": plan.best.layout.name if plan.best else None,
        "verdict": verdict(plan),
    }
    return json.dumps(content, indent=1) + "\n"


def _micro_batch_values(cost: MicroBatchCost) -> dict[str, Any]:
    memory = {name: value for name, value in asdict(cost.memory).items() if name != "largest"}
    seconds = {**asdict(cost.seconds), "total": cost.seconds.total}
    return {"sequences": cost.rows, "memory": memory, "flops": cost.work.flops, "seconds": seconds}


def _layout_values(plan: LayoutPlan) -> dict[str, Any]:
    ranks = {**asdict(plan.layout.plan), "total": plan.layout.plan.total, "built": plan.layout.built}
    if plan.links is None:
        return {"name": plan.layout.name, **ranks, "refusal": plan.refusal}
    seconds = {"compute": plan.compute, **asdict(plan.links), "update": plan.update, "step": plan.step}
    return {"name": plan.layout.name, **ranks, "seconds": seconds, "tokens_per_day": plan.tokens_per_day}


def _utilisation(plan: RunPlan, best: LayoutPlan) -> float:
    """FLOPs of active parameters, backward counted twice forward, over the peak that the maker states."""
    config = plan.config
    figure: Figure = plan.kind.bf16 if config.train.precision == "bf16" else plan.kind.fp32
    per_token = 3 * plan.cost.flops_per_token(config.model.n_layer, config.router.top_k)
    return per_token * best.tokens_per_step / best.step / (plan.devices * (figure.peak or figure.achieved))


def _kind(kind: DeviceKind) -> RenderableType:
    """Every figure, and the sources below."""
    table = headed_table("", "peak", "achieved", "")
    for name, figure in kind.figures().items():
        unit = UNITS.get(name, "bytes/s")
        peak = short_number(figure.peak) if figure.peak else ""
        table.add_row(Text(f"  {name}"), peak, short_number(figure.achieved), Text(unit, style="grey58"))
    sources = [Text(f"  {name}: {figure.source}", style="grey58") for name, figure in kind.figures().items()]
    return section(f"Device {kind.name}", f"{kind.memory / 1e9:,.0f} GB", Group(table, *sources))


def _micro_batches(costs: Mapping[str, MicroBatchCost | str], chosen: str) -> RenderableType:
    table = headed_table("", "kept", "working", "products", "passes", "WKV-7", "host", "ms")
    refusals = []
    for name, cost in costs.items():
        mark = "*" if name == chosen else ""
        if isinstance(cost, str):
            refusals.append(Text(f"  {name}: refused, {cost.partition(';')[0]}", style="grey58"))
            continue
        memory, seconds = cost.memory, cost.seconds
        times = (seconds.products, seconds.passes, seconds.recurrence, seconds.host, seconds.total)
        table.add_row(
            Text(f"  {name}{mark}"),
            _gigabytes(sum(memory.activations.values())),
            _gigabytes(memory.working),
            *(f"{value * 1e3:,.1f}" for value in times),
        )
    rows = next(cost.rows for cost in costs.values() if not isinstance(cost, str))
    remark = f"{rows} sequences: GB beside the state, ms, by train.recompute (*: this run's)"
    return section("Micro-batch", remark, Group(table, *refusals))


def _layouts(plan: RunPlan) -> RenderableType:
    table = headed_table("", "GB", "compute", "gather", "wait", "step", "tokens/day")
    for entry in plan.layouts:
        mark = "*" if entry is plan.best else ""
        size = _gigabytes(entry.layout.plan.total)
        if entry.links is None:
            table.add_row(Text(f"  {entry.layout.name}"), size)
            continue
        seconds = (entry.compute, entry.links.gathered, entry.links.waited, entry.step)
        table.add_row(
            Text(f"  {entry.layout.name}{mark}"),
            size,
            *(f"{value:,.3g}" for value in seconds),
            short_number(entry.tokens_per_day),
        )
    refused = [
        Text(f"  {entry.layout.name}: {entry.refusal}", style="grey58") for entry in plan.layouts if entry.refusal
    ]
    unbuilt = [entry.layout.name for entry in plan.layouts if not entry.layout.built and not entry.refusal]
    if unbuilt:
        refused.append(Text(f"  possible, but not built: {'; '.join(unbuilt)}", style="grey58"))
    remark = f"{plan.devices:,} devices, {plan.per_node} to a node; seconds of a step (*: chosen)"
    return section("Layouts", remark, Group(table, *refused))


def _chosen(best: LayoutPlan, kind: DeviceKind) -> RenderableType:
    plan = best.layout.plan
    table = headed_table("", "GB", "")
    ranks = {
        "replicas": plan.replicas,
        "shards": plan.sharded_ranks,
        "expert ranks": plan.expert_ranks,
        "tensor ranks": plan.tensor_ranks,
    }
    for name, value in {**plan.parts, "usable": USABLE * kind.memory}.items():
        table.add_row(Text(f"  {name}"), _gigabytes(value), "")
    told = ", ".join(f"{count} {name}" for name, count in ranks.items() if count > 1) or "one device"
    rounds = f"micro-batches a step: {best.rounds}"
    return section("One device", f"{told}; {rounds}", table)


def _gigabytes(value: float) -> str:
    return f"{value / 1e9:,.2f}" if value < 1e11 else f"{value / 1e9:,.0f}"
