"""Training the 0.4b on one GPU: share of the measured bf16 peak, by the FLOPs of active parameters; else unrun."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from benchmarks.gate import require
from benchmarks.result import Result, at_least
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from benchmarks.whole_step import our_step
from benchmarks.workload import StepShape, build_model
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel

ROW = "training_cuda"
SHAPE = StepShape(
    n_embd=1024,
    n_layer=16,
    experts="6R2T",
    prefix_len=48,
    low_rank=64,
    vocab=65_536,
    ctx=1024,
    batch=6,
    dtype="bf16",
)
MUST = at_least(0.40)
SIDE = 8192  # of the square product that finds the peak
WARM_UPS = 3


def measure(session: Session) -> Iterator[Result]:
    """One micro-batch per step."""
    what = f"training step, share of the bf16 peak, {SHAPE}"
    if not torch.cuda.is_available():
        yield Result(row=ROW, what=what, must=MUST, limit=1.0, reason="torch finds no CUDA device")
        return
    shape = session.pick(SHAPE, StepShape(n_embd=64, n_layer=2, vocab=512, ctx=32, batch=2, dtype="bf16"))
    session.say(what)
    model = build_model(shape.config(), "cuda")
    share, seconds = share_of_peak(model, shape, session.times(10), session.pick(SIDE, 256))
    finite = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    gate = require(float(not finite), 0, "weights that are not finite")
    figures = {"ours": seconds.rate(shape.tokens, "tokens/s"), "step": seconds}
    yield Result(row=ROW, what=what, value=share, must=MUST, limit=1.0, figures=figures, gate=gate)


def share_of_peak(model: LanguageModel, shape: StepShape, repetitions: int, side: int) -> tuple[Sample, Sample]:
    """Share of the peak that steps reach on the model's device, and their seconds; backward counts twice forward."""
    step = our_step(model, shape)
    left, right = (torch.randn(side, side, device=model.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = _device_seconds(step, model.device, repetitions)
    product = _device_seconds(lambda: left @ right, model.device, repetitions)
    config = model.config
    per_token = 3 * model_cost(model).flops_per_token(config.model.n_layer, config.router.top_k)
    peak = 2 * side**3 / product.low
    return seconds.rate(per_token * shape.tokens / peak, "share"), seconds


def _device_seconds(work: Contestant, device: torch.device, repetitions: int) -> Sample:
    values = []
    for _ in range(WARM_UPS + repetitions):
        _wait_for(device)
        begin = time.perf_counter()
        work()
        _wait_for(device)
        values.append(time.perf_counter() - begin)
    return Sample(tuple(values[WARM_UPS:]))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
