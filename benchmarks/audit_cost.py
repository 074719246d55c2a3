"""Share of a training step that measuring the experts' credit takes, audits and their books included.

At the default share every eighth step is audited whole, in a layer that changes from audit to audit. On average half of
the layers and half a layer run again, and the head, forward only: with a backward pass twice as dear as a forward pass
that is (L + 1) / 2L / 3 / 8 of all steps, 2.4 % for 6 layers and 2.1 % for many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.gate import require
from benchmarks.result import Result, at_most
from benchmarks.sample import Contestant
from benchmarks.session import Session
from benchmarks.whole_step import TINY, our_step
from benchmarks.workload import StepShape, build_model
from camoe.config.calibrated import CalibratedConfig, CreditConfig
from camoe.config.run import RunConfig
from camoe.economy.calibrated.window import CalibratedWindow
from camoe.economy.market import CalibratedMarket
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.election_terms import AuditedLayer, ElectionTerms
from camoe.training.audit import measure_credit
from camoe.training.experiments import AuditDraw
from camoe.training.objectives import Batch, Losses, compute_losses

ROW = "audit_cost"
LARGEST_ERROR = 1e-4  # nats per token, between a run from the audited layer on and a whole one
CREDITS = {"replacement_audit": "replacement", "leave_one_out": "leave_one_out", "midpoint": "midpoint"}


def measure(session: Session) -> Iterator[Result]:
    """One row per audited credit at the default share, every layer audited in turn; only the first has a target."""
    shape = session.pick(StepShape(), TINY)
    config = calibrated(shape.config())
    model = build_model(config)
    gate = effects_are_those_of_whole_runs(model, shape)
    session.say(f"audits, {shape}")
    contestants: dict[str, Contestant] = {"step": our_step(model, shape)}
    contestants |= {credit: audits_of_every_layer(model, shape, kind) for credit, kind in CREDITS.items()}
    seconds = session.race(contestants, 5)
    for credit in CREDITS:
        audit = seconds[credit].scaled(CreditConfig().share / shape.n_layer)
        yield Result(
            row=ROW,
            what=f"credit by {credit}, share of a step, 1 in {1 / CreditConfig().share:.0f} steps, {shape}",
            value=audit.over(seconds["step"].plus(audit), "share"),
            must=at_most(0.03) if credit == "replacement_audit" and not session.quick else None,
            limit=(shape.n_layer + 1) / (2 * shape.n_layer) / 24 if credit == "replacement_audit" else None,
            figures={"step without": seconds["step"], "audits, mean over steps and layers": audit},
            gate=gate,
        )


def calibrated(config: RunConfig) -> RunConfig:
    """The same run under the calibrated economy."""
    return replace(config, economy=CalibratedConfig())


def audits_of_every_layer(model: LanguageModel, shape: StepShape, kind: str) -> Contestant:
    """The audits of a step in every layer in turn, as `train_step` does one of them after a backward pass."""
    first_runs = [first_run(model, shape, layer) for layer in range(shape.n_layer)]
    rows = torch.arange(shape.batch)
    assert isinstance(model.market, CalibratedMarket)
    window = CalibratedWindow(model.market.config, model.market.state)

    def run() -> None:
        with shape.precision():
            for layer, (batch, terms, losses) in enumerate(first_runs):
                draw = AuditDraw(layer, rows, (rows + layer) % model.config.experts.total)
                window.add_credit(measure_credit(model, batch, terms, losses, draw, kind))

    return run


def first_run(model: LanguageModel, shape: StepShape, layer: int) -> tuple[Batch, ElectionTerms, Losses]:
    """A forward pass that keeps the layer's input."""
    batch, noise = shape.batches()
    terms = ElectionTerms(noise)
    with torch.no_grad(), shape.precision():
        return batch, terms, compute_losses(model, batch, terms, RoutingTrace(audited_layer=layer))


def effects_are_those_of_whole_runs(model: LanguageModel, shape: StepShape) -> str:
    """Passes when audits from each layer's input on find what running the whole model with the ban finds."""
    error, rows = 0.0, torch.arange(shape.batch)
    for layer in range(shape.n_layer):
        batch, terms, losses = first_run(model, shape, layer)
        banned = rows % model.config.experts.total
        with torch.no_grad(), shape.precision():
            effect = measure_credit(model, batch, terms, losses, AuditDraw(layer, rows, banned), "replacement").effect
            again = compute_losses(model, batch, terms.of_rows(rows, AuditedLayer(layer, banned)))
        expected = (again.token_loss - losses.token_loss).double().sum(-1)
        error = max(error, float((effect - expected).abs().max()) / shape.ctx)
    return require(error, LARGEST_ERROR, "nats per token between audits and whole runs")
