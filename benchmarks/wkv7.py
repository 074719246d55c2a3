"""The WKV-7 recurrence on the CPU: error, speed against a Python loop, share of the multiply-add peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.fma_peak import fma_probe
from benchmarks.gate import require, worst_error
from benchmarks.published_layers import wkv7_loop
from benchmarks.result import Must, Result, at_least, at_most
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from camoe.kernels.wkv7 import wkv7
from camoe.kernels.wkv7_native import native_library
from camoe.profiling.step_work import BACKWARD_SLOTS, FORWARD_SLOTS

ROW = "wkv7"
SMALLEST_DECAY = math.exp(-math.exp(-0.5))  # 0.545
LARGEST_ERROR = 1e-6  # the target
WRONG_ABOVE = 4e-6  # float32 rounding ends here, and the gate closes
Shape = tuple[int, int, int, int]  # B, T, H, N


def measure(session: Session) -> Iterator[Result]:
    """All rows; without a C++ compiler those of the chunked form only."""
    backends = ("native", "chunked") if native_library().library is not None else ("chunked",)
    if "native" not in backends:
        yield Result(row=ROW, what="native", reason=native_library().reason)
    gates = {}
    for backend in backends:
        error = _largest_error(backend, session)
        gates[backend] = require(error, WRONG_ABOVE, f"{backend} against float64")
        yield Result(
            row=ROW,
            what=f"{backend}: error against float64, outputs and gradients, odd T, repeated keys, w = 0.545",
            value=Sample((error,), ""),
            must=at_most(LARGEST_ERROR),
        )
    shapes = session.pick([(8, 256, 4, 64), (4, 512, 12, 64)], [(1, 17, 1, 64)])
    for shape in shapes:
        yield from _against_loop(session, shape, gates)
    if "native" in backends:
        yield from _against_peak(session, shapes[0], gates["native"])


def make_inputs(shape: Shape, kind: str = "usual") -> list[Tensor]:
    """r, w, k, v, a, b [B,T,H,N] as a layer makes them; kind `repeated`: one key; `forgetting`: smallest decay."""
    generator = torch.Generator().manual_seed(0)
    r, k, v, z = (0.5 * torch.randn(shape, generator=generator) for _ in range(4))
    rate = torch.rand(shape, generator=generator)
    if kind == "repeated":
        k, rate = k[:, :1].expand(shape).clone(), torch.full(shape, 0.99)
    w = torch.exp(-math.exp(-0.5) * torch.sigmoid(6 * z))
    if kind == "forgetting":
        w = torch.full(shape, SMALLEST_DECAY)
    kk = torch.nn.functional.normalize(k, dim=-1)
    return [r, w, k, v, -kk, kk * rate]


def outputs_and_gradients(operation: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor]) -> dict[str, Tensor]:
    """y, sa and the gradients of all inputs; v and r, as good as any numbers, are the gradients of y and sa."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = operation(*leaves)[:2]
    gradients = torch.autograd.grad(outputs, leaves, (inputs[3], inputs[0]))
    return dict(zip(("y", "sa", "g_r", "g_w", "g_k", "g_v", "g_a", "g_b"), (*outputs, *gradients), strict=True))


def _largest_error(backend: str, session: Session) -> float:
    worst = 0.0
    for kind in ("usual", "repeated", "forgetting"):
        for n_tokens in session.pick((37, 101), (17,)):
            inputs = make_inputs((2, n_tokens, 2, 64), kind)
            exact = outputs_and_gradients(wkv7_loop, [x.double() for x in inputs])
            got = outputs_and_gradients(partial(wkv7, backend=backend), inputs)
            worst = max(worst, worst_error(got, exact)[0])
    return worst


def _against_loop(session: Session, shape: Shape, gates: dict[str, str]) -> Iterator[Result]:
    inputs = make_inputs(shape)
    contestants: dict[str, Contestant] = {
        "loop": partial(outputs_and_gradients, wkv7_loop, inputs),
        **{name: partial(outputs_and_gradients, partial(wkv7, backend=name), inputs) for name in gates},
    }
    session.say(f"{list(contestants)} at {_name(shape)}")
    seconds = session.race(contestants, 3)
    musts: dict[str, Must] = {"native": at_least(25), "chunked": at_least(4)}
    for name, gate in gates.items():
        yield Result(
            row=ROW,
            what=f"{name} forward + backward against the Python loop, {_name(shape)}",
            value=seconds["loop"].over(seconds[name]),
            must=musts[name],
            figures={"ours": seconds[name], "loop": seconds["loop"]},
            gate=gate,
        )


def _against_peak(session: Session, shape: Shape, gate: str) -> Iterator[Result]:
    """Share of the multiply-add peak: time of the needed multiply-adds at the peak over the time taken.

    The peak is a contestant too: the clock of a shared machine is not the same from one second to the next.
    """
    inputs, (probe, multiply_adds) = make_inputs(shape), fma_probe()
    native = partial(wkv7, backend="native")
    session.say(f"native against the multiply-add peak at {_name(shape)}")
    contestants: dict[str, Contestant] = {
        "peak": probe,
        "forward": partial(native, *inputs),
        "forward + backward": partial(outputs_and_gradients, native, inputs),
    }
    seconds = session.race(contestants)
    entries = shape[0] * shape[1] * shape[2] * shape[3] ** 2
    for name, slots, must in (
        ("forward", FORWARD_SLOTS, at_least(0.70)),
        ("forward + backward", FORWARD_SLOTS + BACKWARD_SLOTS, at_least(0.45)),
    ):
        at_peak = seconds["peak"].scaled(entries * slots / multiply_adds)
        yield Result(
            row=ROW,
            what=f"native {name}, share of the multiply-add peak, {_name(shape)}",
            value=at_peak.over(seconds[name], "share"),
            must=must,
            limit=1.0,
            figures={
                "ours": seconds[name],
                "at the peak": at_peak,
                "peak": seconds["peak"].rate(multiply_adds, "multiply-adds/s"),
            },
            gate=gate,
        )


def _name(shape: Shape) -> str:
    return "B{} T{} H{} N{}".format(*shape)
