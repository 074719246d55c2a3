"""One whole training step against CaMoE as published: same weights, same tokens, same gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.gate import require, worst_error
from benchmarks.gemm_floor import floor_of, record_products
from benchmarks.published_camoe import PublishedCaMoE
from benchmarks.result import Must, Result, at_least
from benchmarks.sample import Contestant
from benchmarks.session import Session
from benchmarks.wkv7 import make_inputs, outputs_and_gradients
from benchmarks.workload import StepShape, build_model
from camoe.kernels.wkv7 import choose_backend, wkv7
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.model.precision import autocast
from camoe.routing.election_terms import ElectionTerms
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.training.micro_batch import MicroBatch
from camoe.training.objectives import compute_losses
from camoe.training.optimizers import build_optimizer, set_rates
from camoe.training.phases import PhaseSchedule
from camoe.training.train_step import train_step

ROW = "whole_step"
LARGEST_ERROR = 1e-6  # of gradients in float64; the loss itself is taken in float32
LOSS_ERROR = {"fp32": 1e-5, "bf16": 2e-2}
TINY = StepShape(n_embd=32, n_layer=2, prefix_len=3, low_rank=4, vocab=300, ctx=9, batch=2)
SHAPES: tuple[tuple[StepShape, Must], ...] = (
    (StepShape(), at_least(5)),
    (StepShape(n_embd=768, n_layer=4, batch=2), at_least(7)),
    (StepShape(n_embd=768, n_layer=4, batch=2, dtype="bf16"), at_least(10)),
)


def measure(session: Session) -> Iterator[Result]:
    """One row per shape; the peer is the published form in float32."""
    for shape, must in session.pick(SHAPES, ((TINY, at_least(5)),)):
        session.say(f"step, {shape}: gradients")
        gate = same_gradients(shape)
        model = build_model(shape.config())
        gate += ", " + same_loss(model, shape)
        session.say(f"step, {shape}")
        ours = our_step(model, shape)
        contestants = {
            "ours": ours,
            "published": published_step(model, replace(shape, dtype="fp32")),
            "matrix products + WKV": step_floor(ours, shape),
        }
        if shape.dtype != "fp32":
            contestants[f"published in {shape.dtype}"] = published_step(model, shape)
        seconds = session.race(contestants, 3)
        floor = seconds["matrix products + WKV"]
        yield Result(
            row=ROW,
            what=f"training step against the published form, {shape}",
            value=seconds["published"].over(seconds["ours"]),
            must=must,
            limit=seconds["published"].over(floor).median,
            figures={
                **{form: sample.rate(shape.tokens, "tokens/s") for form, sample in seconds.items()},
                "ours over that floor": seconds["ours"].over(floor),
            },
            gate=gate,
        )


def our_step(model: LanguageModel, shape: StepShape) -> Contestant:
    """A step as the trainer does it, on one batch."""
    config = model.config
    optimizer = build_optimizer(config.optimizer, parameter_groups(model), model.device.type)
    phase = PhaseSchedule(config.phase).at(0)
    set_rates(optimizer, config.train.base_lr, phase)
    batch, noise = shape.batches()
    statistics, batches = routing_statistics_of(model), [MicroBatch(batch, ElectionTerms(noise))]

    def step() -> None:
        with shape.precision(model.device.type):
            train_step(model, optimizer, batches, phase, statistics, grad_clip=config.optimizer.grad_clip)

    return step


def published_step(model: LanguageModel, shape: StepShape) -> Contestant:
    """The same step, the published way, under autocast where the shape says bf16."""
    config = model.config
    optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu")
    set_rates(optimizer, config.train.base_lr, PhaseSchedule(config.phase).at(0))
    published, (batch, noise) = PublishedCaMoE(model), shape.batches()

    def step() -> None:
        with autocast(shape.dtype, "cpu"):
            published.step(optimizer, batch, noise, config.optimizer.grad_clip)

    return step


def step_floor(step: Contestant, shape: StepShape) -> Contestant:
    """What our step costs if it is nothing but its matrix products and its recurrences."""
    products = floor_of(record_products(step))
    head_size = shape.config().model.head_size
    inputs = make_inputs((shape.batch, shape.ctx, shape.n_embd // head_size, head_size))
    recurrence = partial(wkv7, backend=choose_backend("auto", "cpu").name)

    def run() -> None:
        with shape.precision():
            products()
        for _ in range(shape.n_layer):
            outputs_and_gradients(recurrence, inputs)

    return run


def same_gradients(shape: StepShape) -> str:
    """Passes when both forms have the same float64 loss and gradients, at this width and on a short text."""
    short = replace(shape, n_layer=2, ctx=min(shape.ctx, 11), batch=2, vocab=min(shape.vocab, 512))
    short = replace(short, dtype="fp32", compile="none")
    model = build_model(short.config()).double()
    batch, noise = short.batches()
    ours = _gradients(model, lambda: compute_losses(model, batch, ElectionTerms(noise.double())).total)
    published = _gradients(model, lambda: PublishedCaMoE(model).losses(batch, noise.double())[0])
    if missing := ours.keys() ^ published.keys():
        return require(float("inf"), LARGEST_ERROR, f"gradients that only one form has: {sorted(missing)[:3]}")
    error, name = worst_error(ours, published)
    return require(error, LARGEST_ERROR, f"float64 gradients (worst: {name})")


def same_loss(model: LanguageModel, shape: StepShape) -> str:
    """Passes when ours has the loss of the published form in float32, on the batch that is timed."""
    batch, noise = shape.batches()
    with torch.no_grad(), shape.precision():
        ours = float(compute_losses(model, batch, ElectionTerms(noise)).total)
        published = float(PublishedCaMoE(model).losses(batch, noise)[0])
    return require(abs(ours / published - 1), LOSS_ERROR[shape.dtype], f"loss in {shape.dtype}")


def _gradients(model: LanguageModel, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    value = loss()
    value.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return {"loss": value.detach(), **gradients}
