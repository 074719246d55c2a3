"""The plan for this machine's CPU against real training steps on it, one thread.

Seconds are those of the processor, in the benchmark that measures the machine as in the steps, so that other work on
the machine hardly matters.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import device_rates, sample
from benchmarks.machine import describe
from benchmarks.peak_memory import step_memory
from benchmarks.report import as_json
from benchmarks.session import Session
from benchmarks.whole_step import our_step
from benchmarks.workload import StepShape, build_model
from camoe.kernels.wkv7 import choose_backend
from camoe.profiling.device_kinds import DeviceKind, measured_kind
from camoe.profiling.memory_estimate import estimate_memory
from camoe.profiling.run_plan import MicroBatches, RunPlan

pytestmark = pytest.mark.slow

SHAPES = {"tiny": StepShape(n_embd=128, n_layer=4, ctx=128), "C256": StepShape()}
ROUNDS, STEPS = 5, 3
SECONDS_WITHIN = 0.4
"""Share of what is measured. The plan leaves out native elementwise passes, reductions, the market."""
MOST_GROWTH = 1.6
"""A process over its tensors: the allocator keeps freed pieces, glibc's up to half as much again."""


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Timed by the seconds of the processor, also inside benchmarks."""
    monkeypatch.setattr(sample, "time", SimpleNamespace(perf_counter=time.process_time))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", SHAPES)
def test_a_step_takes_as_long_as_planned(name: str, tmp_path: Path) -> None:
    """Machine and steps in turn, for neighbours on the same host make both slower for a while."""
    shape = SHAPES[name]
    simulated = MicroBatches(shape.config(), choose_backend("auto", "cpu").name)
    step = our_step(build_model(shape.config()), shape)
    step()
    rounds = []
    for _ in range(ROUNDS):
        plan = RunPlan(shape.config(), _this_machine(tmp_path), 1, 1, simulated).best
        assert plan is not None
        rounds.append((plan.step, statistics.median(_seconds(step) for _ in range(STEPS))))
        print(f"{name}: planned {rounds[-1][0]:.3f} s, measured {rounds[-1][1]:.3f} s")
    share = statistics.median(planned / measured for planned, measured in rounds)
    assert share == pytest.approx(1, abs=SECONDS_WITHIN)


def _this_machine(folder: Path) -> DeviceKind:
    """As `python -m benchmarks device_rates` finds it now."""
    file = folder / "performance.json"
    file.write_text(as_json(list(device_rates.measure(Session(repetitions=5))), describe(), "test"))
    return measured_kind(file)


@pytest.mark.parametrize("name", SHAPES)
def test_a_process_grows_by_the_planned_peak_and_little_more(name: str) -> None:
    shape = SHAPES[name]
    planned = estimate_memory(shape.config(), choose_backend("auto", "cpu").name).peak
    measured = step_memory(shape, "ours")
    print(f"{name}: planned {planned / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB")
    assert planned <= measured <= MOST_GROWTH * planned


def _seconds(step: object) -> float:
    begin = time.process_time()
    step()  # type: ignore[operator]
    return time.process_time() - begin
