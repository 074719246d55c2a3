"""Share of a training step that the market's settlement and the routing statistics take, at the pilot's size.

A step of the pilot is 12 micro-batches of 4 x 512 tokens. One is timed, and 12 of them are taken for the step: the
optimiser, which would only make the share smaller, is left out. The settlement gets all 12 elections, drawn at random.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.gate import relative_error, require
from benchmarks.result import Result, at_most
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from benchmarks.whole_step import TINY
from benchmarks.workload import StepShape, build_model
from camoe.config.run import RunConfig
from camoe.economy.critic import CriticOpinion
from camoe.economy.market import CapitalMarket
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import LayerRouting, RoutingTrace
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import NO_EXPERIMENT, ElectionTerms
from camoe.routing.router import mixture_weights
from camoe.tracking.market_statistics import MarketStatistics, market_statistics_of
from camoe.tracking.routing_statistics import RoutingStatistics, routing_statistics_of
from camoe.training.objectives import Losses, LossTerm, compute_losses, settlement_record

ROW = "settlement"
PILOT = StepShape(n_embd=768, n_layer=12, vocab=65_536, ctx=512, batch=4)
PILOT_MICRO_BATCHES = 12
LARGEST_ERROR = 1e-6  # share of the capital that the ledger does not explain


def measure(session: Session) -> Iterator[Result]:
    """Settlement, statistics, and both as a share of the step."""
    shape, count = session.pick((PILOT, PILOT_MICRO_BATCHES), (TINY, 2))
    model = build_model(shape.config())
    elections = [random_losses(model.config, shape, seed) for seed in range(count)]
    settle = settlement(model, market_statistics_of(model.config.economy), elections)
    observe = observation(routing_statistics_of(model), elections)
    gate = ledger_closes(model, elections)
    session.say("settlement and statistics")
    seconds = session.race({"settlement": settle, "statistics": observe})
    session.say(f"micro-batch of the pilot, {shape}")
    micro = micro_batch_seconds(shape, session)
    both = seconds["settlement"].plus(seconds["statistics"])
    yield Result(
        row=ROW,
        what=f"settlement + routing statistics, share of a step of {count} micro-batches, {shape}",
        value=Sample(tuple(value / (count * micro.median) for value in both.values), "share"),
        must=at_most(0.02) if not session.quick else None,
        figures={**seconds, "one micro-batch": micro},
        gate=gate,
    )


@functools.cache
def micro_batch_seconds(shape: StepShape, session: Session) -> Sample:
    """Forward and backward of one micro-batch; timed once per process, for it is dear and two rows need it."""
    model = build_model(shape.config())
    batch, noise = shape.batches()

    def run() -> None:
        model.zero_grad(set_to_none=True)
        with shape.precision():
            compute_losses(model, batch, ElectionTerms(noise)).total.backward()

    return session.race({"micro-batch": run}, 1)["micro-batch"]


def settlement(model: LanguageModel, statistics: MarketStatistics, elections: list[Losses]) -> Contestant:
    """One settlement of the whole window, as `train_step` does it, records included, and its report's statistics."""
    critics = model.critics()

    def run() -> None:
        window = model.market.open_window()
        for losses in elections:
            window.add(settlement_record(model, losses, NO_EXPERIMENT, losses.mask.sum()))
        statistics.add(model.market.settle(window, critics, phase_name="normal"))

    return run


def observation(statistics: RoutingStatistics, elections: list[Losses]) -> Contestant:
    """The routing statistics of the same window."""

    def run() -> None:
        for losses in elections:
            statistics.add(losses.trace.decision(), losses.mask)

    return run


def ledger_closes(model: LanguageModel, elections: list[Losses]) -> str:
    """Passes when the settlement's flows explain the change of capital, and there is one."""
    assert isinstance(model.market, CapitalMarket)
    window = model.market.open_window()
    for losses in elections:
        window.add(settlement_record(model, losses, NO_EXPERIMENT, losses.mask.sum()))
    before = model.market.state.capital.clone()
    report = model.market.settle(window, model.critics(), phase_name="normal")
    total = float(model.market.config.total_capital)
    if relative_error(model.market.state.capital, before) == 0.0:
        return require(float("inf"), 0.0, "a settlement that moves no capital")
    return require(float(report.residual.abs().max()) / total, LARGEST_ERROR, "capital unexplained")


def random_losses(config: RunConfig, shape: StepShape, seed: int) -> Losses:
    """One micro-batch's elections and losses, with as many numbers as a real one has."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    tokens, n_expert = (shape.batch, shape.ctx), config.experts.total
    layers = []
    for _ in range(shape.n_layer):
        gate, bias = draw(*tokens, n_expert).sigmoid(), 0.1 * draw(*tokens, n_expert)
        ranked, order = (gate + bias).sort(dim=-1, descending=True)
        winners = order[..., : config.router.top_k]
        price = ranked[..., config.router.top_k]
        decision = RoutingDecision(winners, mixture_weights(gate, winners), price, gate, bias, gate + bias)
        layers.append(LayerRouting(decision, CriticOpinion(draw(*tokens).abs(), draw(*tokens, n_expert))))
    token_loss = 5 + draw(*tokens)
    mask = torch.ones(tokens, dtype=torch.bool)
    term = LossTerm("critic_difficulty", token_loss.mean(), torch.tensor(1.0), ("critic",))
    return Losses([term], token_loss, mask, RoutingTrace(layers))
