"""The profile as a person reads it: size and FLOPs, memory, and where a step's time goes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from camoe.model.cost import RoomCost
from camoe.profiling.memory_estimate import MemoryEstimate
from camoe.profiling.room_times import STEP, RoomTime
from camoe.profiling.sharding_plan import DEVICES, ShardedModel, ShardingPlan, sharding_plan
from camoe.profiling.sizing import Fit, Growth
from camoe.profiling.step_profile import StepProfile
from camoe.tracking.bars import bar
from camoe.tracking.short_number import short_number

WIDTH = 80
BAR = 12
COLOUR, MEMORY_COLOUR = "#3fa66a", "#2f6fde"
WORDS = {
    STEP: "engine and rest",
    "block": "norms, residuals",
    "head_loss": "head and loss",
    "gradient_norm": "gradient norm",
    "rwkv_ffn": "RWKV experts",
    "swiglu": "SwiGLU experts",
    "gelu_ffn": "GELU experts",
    "gated_channel_mix": "gated channel mix",
    "zero": "zero experts",
    "copy": "copy experts",
    "constant": "constant experts",
    "shared_experts": "shared experts",
    "transformer_prefix": "Transformer experts",
    "deep_embed_attention": "DeepEmbedAttention",
    "time_mix": "time mixing",
    "attention": "causal attention",
}


def plain_text(parts: Sequence[RenderableType]) -> str:
    """The report without colour, for a file."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None)
    console.print(*parts)
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def size_report(costs: Mapping[str, RoomCost]) -> RenderableType:
    """Parameters and forward FLOPs per token, stored and active under an even load."""
    table = headed_table("", "parameters", "active", "FLOPs/token", "active", "")
    largest = max(cost.active_flops for cost in costs.values())
    for name, cost in costs.items():
        values = (cost.params, cost.active_params, cost.flops, cost.active_flops)
        table.add_row(_name(name), *map(_number, values), bar(cost.active_flops / largest, BAR, COLOUR))
    sums = [sum(getattr(cost, field) for cost in costs.values()) for field in RoomCost.__dataclass_fields__]
    table.add_row(Text("  total", style="bold"), *(Text(short_number(value), style="bold") for value in sums))
    return section("Size", "active: what serves one token under an even load", table)


def memory_report(estimate: MemoryEstimate, measured: int | None) -> RenderableType:
    """Bytes by what they are for."""
    table = headed_table("", "MB", "")
    kept = sum(estimate.activations.values())
    rows = {"weights": estimate.weights, "optimiser": estimate.optimizer, "gradients": estimate.gradients}
    for name, value in rows.items():
        table.add_row(Text(f"  {name}"), _megabytes(value), bar(value / estimate.peak, 3 * BAR, MEMORY_COLOUR))
    table.add_row(Text("  activations"), _megabytes(kept), bar(kept / estimate.peak, 3 * BAR, MEMORY_COLOUR))
    for name, value in sorted(estimate.activations.items(), key=lambda item: -item[1]):
        if value > kept / 50:
            table.add_row(_name(name, indent=4), _megabytes(value), bar(value / estimate.peak, 3 * BAR, "grey58"))
    table.add_row(
        Text("  peak", style="bold"),
        _megabytes(estimate.peak, "bold"),
        Text(f"at the {estimate.moment}" + ("" if measured is None else f"; measured {measured / 1e6:,.0f}")),
    )
    return section("Memory", "estimate; activations: kept by a micro-batch for its backward pass", table)


def largest_report(estimate: MemoryEstimate, count: int = 4) -> RenderableType:
    """The largest single buffers of a step."""
    table = Table.grid(padding=(0, 2))
    for buffer in estimate.largest[:count]:
        shape = " x ".join(str(size) for size in buffer.shape)
        operation = buffer.operation.removeprefix("aten.").partition(".")[0]
        where = WORDS.get(buffer.room, buffer.room) or "backward"
        table.add_row(Text("  " + shape), _megabytes(buffer.n_bytes), Text(f"{operation}, {where}", style="grey58"))
    return section("Largest buffers", "MB", table)


def nominal_report(nominal: float, growth: Mapping[str, Growth], published_width: int) -> RenderableType:
    """The width of experts that gives the nominal size, counted in each way, and what CDRmix's rule would give."""
    table = Table.grid(padding=(0, 2))
    for counted, line in growth.items():
        table.add_row(Text(f"  {counted}"), Text(str(Fit(line, nominal))))
    sizes = ", ".join(f"{short_number(line.at(published_width))} {counted}" for counted, line in growth.items())
    table.add_row(Text("  CDRmix's rule"), Text(f"experts.hidden={published_width} gives {sizes}"))
    return section("Nominal size", f"{short_number(nominal)} parameters (job.nominal_params)", table)


def sharding_report(model: ShardedModel) -> RenderableType:
    """How many devices a training step needs, and bytes on each, for every size of device."""
    plans = {f"{device / 1e9:.0f} GB": sharding_plan(model, device) for device in DEVICES}
    columns = [_plan_rows(plan) for plan in plans.values()]
    table = headed_table("", *plans)
    for name in max(columns, key=len):
        table.add_row(Text(f"  {name}"), *(column.get(name, "") for column in columns))
    return section("Sharding", "ranks of each kind, their product the devices; GB on each device", table)


def _plan_rows(plan: ShardingPlan | None) -> dict[str, str]:
    """One column by row; a single device has neither ranks nor gathered blocks."""
    if plan is None:
        return {"devices": "none fits"}
    ranks = {"expert ranks": plan.expert_ranks, "shards": plan.sharded_ranks, "tensor ranks": plan.tensor_ranks}
    whole = {"devices": plan.devices, **(ranks if plan.devices > 1 else {})}
    return {name: f"{value:,}" for name, value in whole.items()} | {
        name: f"{value / 1e9:,.1f}" for name, value in plan.parts.items() if value
    }


def time_report(profile: StepProfile, flops: Mapping[str, float]) -> RenderableType:
    """Milliseconds of one profiled step by room. flops: forward FLOPs of one step by room."""
    recomputed = any(time.recomputed > 0 for time in profile.rooms.values())
    columns = ["", "ms", "share", "", "forward", *["again"] * recomputed, "backward", "GFLOP/s"]
    table = headed_table(*columns, *["GPU ms"] * profile.on_device)
    times = [_seconds(time, profile) for time in profile.rooms.values()]
    whole, largest = sum(times), max(times)
    for name, time in sorted(profile.rooms.items(), key=lambda item: -_seconds(item[1], profile)):
        seconds = _seconds(time, profile)
        rate = _flops_done(flops.get(name, 0.0), time) / seconds / 1e9 if seconds else 0.0
        table.add_row(
            _name(name),
            _milliseconds(time.total),
            f"{seconds / whole:.1%}",
            bar(seconds / largest, BAR, COLOUR),
            *(_milliseconds(part) for part in (time.forward, *[time.recomputed] * recomputed, time.backward)),
            f"{rate:,.0f}" if rate else "",
            *[_milliseconds(time.device)] * profile.on_device,
        )
    return section(f"Step of phase {profile.phase}", _clock(profile, flops), table)


def _clock(profile: StepProfile, flops: Mapping[str, float]) -> str:
    """The step as a whole, without the profiler."""
    done = sum(_flops_done(flops.get(name, 0.0), time) for name, time in profile.rooms.items())
    return (
        f"{profile.plain * 1e3:,.0f} ms, {profile.tokens / profile.plain:,.0f} tokens/s, "
        f"{done / profile.plain / 1e9:,.0f} GFLOP/s (profiled: {profile.profiled * 1e3:,.0f} ms)"
    )


def _flops_done(forward: float, time: RoomTime) -> float:
    """Forward, again where it was computed again, and twice as much backward where there was a backward pass."""
    return forward * (1 + (time.recomputed > 0) + 2 * (time.backward > 0))


def _seconds(time: RoomTime, profile: StepProfile) -> float:
    """By the clock that matters: the accelerator's where there is one."""
    return time.device if profile.on_device else time.total


def section(title: str, remark: str, body: RenderableType) -> RenderableType:
    """A part of a report under its heading."""
    heading = Text(title, style="bold").append(f"  {remark}", style="not bold grey58")
    return Padding(Group(heading, body), (0, 0, 1, 0))


def headed_table(*headers: str) -> Table:
    """Names and bars stand left, under an empty header; numbers right."""
    table = Table.grid(padding=(0, 1))
    for header in headers:
        table.add_column(justify="right" if header else "left", no_wrap=True)
    table.add_row(*(Text(header, style="grey58") for header in headers))
    return table


def _name(room: str, indent: int = 2) -> Text:
    return Text(" " * indent + WORDS.get(room, room), style="grey58" if indent > 2 else "")


def _number(value: float) -> str:
    return short_number(value) if value else ""


def _megabytes(n_bytes: int, style: str = "") -> Text:
    return Text(f"{n_bytes / 1e6:,.1f}" if n_bytes < 1e8 else f"{n_bytes / 1e6:,.0f}", style=style)


def _milliseconds(seconds: float) -> str:
    if seconds < 5e-5:
        return ""
    return f"{seconds * 1e3:,.1f}" if seconds < 1 else f"{seconds * 1e3:,.0f}"
