"""Running a few real training steps: plain ones for the clock, profiled ones for the rooms, one for the memory."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from camoe.model.rooms import room
from camoe.profiling.labels import labelled
from camoe.profiling.room_times import STEP, RoomTime, room_times
from camoe.profiling.storage_tracker import StorageTracker, tensors_of
from camoe.training.trainer import Trainer


@dataclass(frozen=True)
class StepProfile:
    """plain, profiled: median seconds of a step without and with the profiler. rooms: of one profiled step.

    peak: bytes of tensors alive at the worst moment of a step, weights and optimiser included. steps, tokens: profiled
    steps, and tokens of each. phase: that of the schedule which the steps belong to.
    """

    plain: float
    profiled: float
    rooms: dict[str, RoomTime]
    peak: int
    steps: int
    tokens: int
    phase: str
    on_device: bool


def profile_steps(trainer: Trainer, steps: int, trace: Path) -> StepProfile:
    """Train `steps` steps plain, `steps` profiled and one watched for memory, after one to warm up.

    They are steps of the longest phase of the schedule, from its beginning. `trace` receives a Chrome trace.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # without it the profiler greets on stderr
    phase = max(trainer.schedule.phases, key=lambda phase: phase.end - phase.first)
    trainer.progress.step = phase.first
    _timed_step(trainer)
    plain = statistics.median(_timed_step(trainer) for _ in range(steps))
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (trainer.device.type == "cuda")
    with labelled(trainer.model), profile(activities=activities) as profiler:
        profiled = statistics.median(_timed_step(trainer) for _ in range(steps))
    profiler.export_chrome_trace(str(trace))
    return StepProfile(
        plain,
        profiled,
        {name: total.per_step(steps) for name, total in room_times(profiler.events() or ()).items()},
        _peak_of_a_step(trainer),
        steps,
        trainer.sequences * trainer.config.train.ctx_len,
        phase.name,
        trainer.device.type == "cuda",
    )


def _timed_step(trainer: Trainer) -> float:
    """Seconds until the step is done, on an accelerator too."""
    started = time.perf_counter()
    with room(STEP):
        trainer.advance()
        if trainer.device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - started


def _peak_of_a_step(trainer: Trainer) -> int:
    """Bytes of tensors at the worst moment of a step, those that outlive it included."""
    moments = [value for state in trainer.optimizer.state.values() for value in state.values()]
    lasting: list[Tensor] = [*tensors_of(trainer.model), *(value for value in moments if isinstance(value, Tensor))]
    trainer.optimizer.zero_grad(set_to_none=True)
    with StorageTracker(lasting) as tracker:
        trainer.advance()
    return tracker.peak + sum(tensor.untyped_storage().nbytes() for tensor in lasting)
