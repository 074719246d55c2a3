"""The WKV-7 recurrence on a CUDA device; unrun without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.gate import require, worst_error
from benchmarks.published_layers import wkv7_loop
from benchmarks.result import Result, at_most
from benchmarks.sample import Sample
from benchmarks.session import Session
from benchmarks.wkv7 import LARGEST_ERROR, make_inputs, outputs_and_gradients
from camoe.kernels.wkv7 import choose_backend, wkv7

ROW = "wkv7_cuda"
SHAPE, QUICK_SHAPE = (8, 4096, 16, 64), (1, 33, 2, 64)
MUST = at_most(2e-3)  # seconds, on an H200


def measure(session: Session) -> Iterator[Result]:
    """Forward and backward by events of the device."""
    shape = session.pick(SHAPE, QUICK_SHAPE)
    what = "forward + backward, float32 state, B{} T{} H{} N{}".format(*shape)
    if not torch.cuda.is_available():
        yield Result(row=ROW, what=what, must=MUST, reason="torch finds no CUDA device")
        return
    backend = choose_backend("auto", "cuda").name
    operation = partial(wkv7, backend=backend)
    small = make_inputs((2, 37, 2, 64), "repeated")
    exact = outputs_and_gradients(wkv7_loop, [x.double() for x in small])
    got = outputs_and_gradients(operation, [x.cuda() for x in small])
    error, name = worst_error({key: value.cpu() for key, value in got.items()}, exact)
    gate = require(error, LARGEST_ERROR, f"{backend} against float64 (worst: {name})")
    session.say(f"{backend} on {torch.cuda.get_device_name()}")
    inputs = [x.cuda() for x in make_inputs(shape)]
    seconds = event_seconds(partial(outputs_and_gradients, operation, inputs), session.times(20))
    yield Result(row=ROW, what=f"{backend} {what}", value=seconds, must=MUST, gate=gate)


def event_seconds(work: Callable[[], dict[str, Tensor]], repetitions: int) -> Sample:
    """Seconds on the device, after three calls to warm up."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repetitions):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    return Sample(tuple(seconds))
