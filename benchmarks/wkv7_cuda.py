"""The WKV-7 recurrence on an NVIDIA GPU: error, milliseconds of both passes, fla-core's RWKV-7 kernels beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from benchmarks.gate import require, worst_error
from benchmarks.published_layers import wkv7_loop
from benchmarks.result import Result, at_least, at_most
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from benchmarks.wkv7 import LARGEST_ERROR, Shape, make_inputs
from camoe.kernels.wkv7 import wkv7
from camoe.kernels.wkv7_cuda import cuda_library

ROW = "wkv7_cuda"
TARGET_DEVICE, TARGET_SHAPE, TARGET_SECONDS = "H200", (8, 4096, 16, 64), 2e-3
LARGEST_BF16_ERROR = 2**-8 + LARGEST_ERROR  # rounding the answer
ISSUE_LIMIT = 1.35e-3  # seconds to issue the multiply-adds that both passes need, every lane busy
WARM_UPS = 3
NAMES = ("y", *(f"g_{name}" for name in "rwkvab"))
Operation = Callable[..., tuple[Tensor, ...]]


def measure(session: Session) -> Iterator[Result]:
    """Errors first, then times; one unrun row where there is no GPU or no nvcc."""
    compiled = cuda_library(fast_math=False)
    if compiled.library is None:
        what = f"cuda forward + backward, {_name(TARGET_SHAPE)}"
        yield Result(row=ROW, what=what, must=at_most(TARGET_SECONDS), limit=ISSUE_LIMIT, reason=compiled.reason)
        return
    rivals = rival_operations()
    shapes = session.pick([TARGET_SHAPE, (1, 4096, 16, 64), (8, 1024, 12, 64)], [(1, 17, 1, 64)])
    for dtype in (torch.bfloat16, torch.float32):
        errors = {name: _largest_error(operation, dtype) for name, operation in rivals.items()}
        bound = LARGEST_BF16_ERROR if dtype == torch.bfloat16 else LARGEST_ERROR
        gate = require(errors["ours"], bound, f"cuda {_type(dtype)} against float64")
        for name, error in errors.items():
            what = f"{name} {_type(dtype)}: error against float64, y and its gradients, odd T, repeated keys, w = 0.545"
            yield Result(
                row=ROW, what=what, value=Sample((error,), ""), must=at_most(bound) if name == "ours" else None
            )
        for shape in shapes:
            yield from _race(session, shape, dtype, rivals, gate)


def rival_operations() -> dict[str, Operation]:
    """Ours, and fla-core's where it is installed: r, w, k, v, a, b -> y first."""
    rivals: dict[str, Operation] = {"ours": partial(wkv7, backend="cuda")}
    try:
        from fla.ops.rwkv7 import chunk_rwkv7  # type: ignore[import-not-found]
    except ImportError:
        return rivals

    def fla(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        log_decay = w.log().to(r.dtype)  # one type for all, as its own layer has it
        outputs: tuple[Tensor, ...] = chunk_rwkv7(r=r, w=log_decay, k=k, v=v, a=a, b=b, scale=1.0)
        return outputs

    return rivals | {"fla-core": fla}


def y_and_gradients(operation: Operation, inputs: list[Tensor], weight: Tensor) -> dict[str, Tensor]:
    """y and the gradients of all inputs, where y's gradient is `weight`."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = operation(*leaves)[0]
    return dict(zip(NAMES, (y, *torch.autograd.grad(y, leaves, weight.to(y.dtype))), strict=True))


def inputs_on_gpu(shape: Shape, dtype: torch.dtype, kind: str = "usual") -> tuple[list[Tensor], Tensor]:
    """r, w, k, v, a, b and a gradient for y; w, which bf16 would ruin, stays float32."""
    r, w, *others = (x.cuda() for x in make_inputs(shape, kind))
    weight = torch.randn(shape, generator=torch.Generator("cuda").manual_seed(99), device="cuda")
    return [r.to(dtype), w, *(x.to(dtype) for x in others)], weight.to(dtype)


def _largest_error(operation: Operation, dtype: torch.dtype) -> float:
    worst = 0.0
    for kind in ("usual", "repeated", "forgetting"):
        for n_tokens in (37, 301):
            inputs, weight = inputs_on_gpu((2, n_tokens, 3, 64), dtype, kind)
            exact = y_and_gradients(wkv7_loop, [x.double() for x in inputs], weight)
            worst = max(worst, worst_error(y_and_gradients(operation, inputs, weight), exact)[0])
    return worst


def _race(
    session: Session, shape: Shape, dtype: torch.dtype, rivals: Mapping[str, Operation], gate: str
) -> Iterator[Result]:
    inputs, weight = inputs_on_gpu(shape, dtype)
    session.say(f"{list(rivals)} at {_name(shape)} {_type(dtype)}")
    contestants: dict[str, Contestant] = {
        name: partial(y_and_gradients, operation, inputs, weight) for name, operation in rivals.items()
    }
    contestants["forward"] = partial(_without_gradients, rivals["ours"], inputs)
    seconds = device_seconds(contestants, session.times(20))
    aimed_at = shape == TARGET_SHAPE and TARGET_DEVICE in torch.cuda.get_device_name()
    yield Result(
        row=ROW,
        what=f"cuda {_type(dtype)} forward + backward, {_name(shape)}, {torch.cuda.get_device_name()}",
        value=seconds["ours"],
        must=at_most(TARGET_SECONDS) if aimed_at else None,
        limit=ISSUE_LIMIT if aimed_at else None,
        figures=seconds,
        gate=gate,
    )
    if "fla-core" in seconds:
        what = f"cuda {_type(dtype)} forward + backward against fla-core, {_name(shape)}"
        value = seconds["fla-core"].over(seconds["ours"])
        yield Result(row=ROW, what=what, value=value, must=at_least(1), figures=seconds, gate=gate)


@torch.no_grad()
def _without_gradients(operation: Operation, inputs: list[Tensor]) -> object:
    return operation(*inputs)


def device_seconds(contestants: Mapping[str, Contestant], repetitions: int) -> dict[str, Sample]:
    """Seconds per call by the device's own clock, contestants in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for repetition in range(WARM_UPS + repetitions):
        for name, contestant in contestants.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            contestant()
            end.record()
            end.synchronize()
            if repetition >= WARM_UPS:
                seconds[name].append(begin.elapsed_time(end) / 1e3)
    return {name: Sample(tuple(values)) for name, values in seconds.items()}


def _type(dtype: torch.dtype) -> str:
    return "bf16" if dtype == torch.bfloat16 else "float32"


def _name(shape: Shape) -> str:
    return "B{} T{} H{} N{}".format(*shape)
