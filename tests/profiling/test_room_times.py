"""Every moment of a step belongs to one room, backward too."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from camoe.model.rooms import room
from camoe.profiling.room_times import STEP, RoomTime, room_times

PAUSE = 0.03


class _Slow(torch.autograd.Function):
    """The identity; PAUSE forward, twice as long backward."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        time.sleep(PAUSE)
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        time.sleep(2 * PAUSE)
        return gradient.clone()


def _times(step: Any) -> dict[str, RoomTime]:
    with profile(activities=[ProfilerActivity.CPU]) as profiler, room(STEP):
        step()
    return room_times(profiler.events() or ())


def _slow_in_router(x: Tensor) -> Tensor:
    with room("block"):
        x = x * 2
        with room("router"):
            x = _Slow.apply(x)
        return x.exp()


@pytest.mark.parametrize("again", [False, True])
def test_forward_recomputed_and_backward_are_told_apart(again: bool) -> None:
    x = torch.ones(3, requires_grad=True)

    def step() -> None:
        y = checkpoint(_slow_in_router, x, use_reentrant=False) if again else _slow_in_router(x)
        torch.zeros(3)  # carries the sequence number of the next node, and is not its maker
        with room("head_loss"):
            loss = _Slow.apply(y).sum()
        loss.backward()

    started = time.perf_counter()
    times = _times(step)
    elapsed = time.perf_counter() - started
    for name in ("router", "head_loss"):
        assert PAUSE <= times[name].forward < 1.9 * PAUSE
        assert 2 * PAUSE <= times[name].backward < 2.9 * PAUSE
    assert (times["router"].recomputed >= PAUSE) == again
    assert times["head_loss"].recomputed == 0
    assert times["block"].total < PAUSE
    assert times[STEP].total < PAUSE
    assert sum(part.total for part in times.values()) < elapsed


def test_what_is_outside_of_the_step_belongs_to_nobody() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        torch.ones(3).exp()
    assert room_times(profiler.events() or ()) == {}


def test_times_are_means_of_steps() -> None:
    assert RoomTime(2.0, 4.0, 6.0, 8.0).per_step(2) == RoomTime(1.0, 2.0, 3.0, 4.0)
