"""A capacity limits training alone, leaves no rest in the sums of statistics, and costs what it lets serve."""

from __future__ import annotations

import pytest
import torch

from camoe.config.run import RunConfig
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import ElectionTerms
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.small_run import small_run

B, T = 2, 12
TRAINING = ElectionTerms(training=True)


def _config(mode: str, factor: float = 0.75, **capacity: str) -> RunConfig:
    return small_run("off", router={"capacity": {"mode": mode, "factor": factor, **capacity}})


def _model(config: RunConfig) -> LanguageModel:
    model, generator = LanguageModel(config), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def _run(model: LanguageModel, terms: ElectionTerms) -> tuple[torch.Tensor, RoutingDecision]:
    trace, tokens = RoutingTrace(), torch.randint(256, (B, T), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, _ = model(tokens, terms=terms, trace=trace)
    return logits, trace.decision()


@pytest.mark.parametrize("mode", ["observe", "drop", "reroute"])
@pytest.mark.parametrize("scope", ["sequence", "batch"])
def test_evaluation_knows_no_capacity(mode: str, scope: str) -> None:
    without, _ = _run(_model(_config("off")), ElectionTerms())
    limited, routing = _run(_model(_config(mode, scope=scope)), ElectionTerms())
    assert torch.equal(limited, without)
    assert routing.overflow is None
    assert routing.active is None


def test_observing_changes_nothing_and_dropping_does() -> None:
    plain, _ = _run(_model(_config("off")), TRAINING)
    observed, seen = _run(_model(_config("observe")), TRAINING)
    dropped, lost = _run(_model(_config("drop")), TRAINING)
    assert torch.equal(observed, plain)
    assert not torch.equal(dropped, plain)
    assert torch.equal(seen.overflow[0], lost.overflow[0])  # type: ignore[index]
    assert float(lost.weights[lost.overflow].abs().max()) == 0


@pytest.mark.parametrize("mode", ["drop", "reroute"])
def test_no_expert_serves_beyond_its_places_and_flops_follow(mode: str) -> None:
    model = _model(_config(mode))
    _, routing = _run(model, TRAINING)
    statistics = routing_statistics_of(model)
    statistics.add(routing, torch.ones(B, T, dtype=torch.bool))
    metrics = statistics.metrics()
    assert routing.active is not None
    served = torch.zeros(2, B, 4).scatter_add_(-1, routing.experts.flatten(2), routing.active.flatten(2).float())
    assert float(served.max()) == 5, "ceil(0.75 * 12 * 2 / 4)"
    assert metrics["routing/winners_per_token"] == pytest.approx(float(served.sum()) / (2 * B * T))
    assert metrics["routing/capacity_use"] == pytest.approx(float(served.sum()) / (2 * B * 4 * 5))
    assert metrics["routing/drop_rate"] > 0


def test_rerouting_fills_the_places_that_dropping_leaves_empty() -> None:
    use = {}
    for mode in ("drop", "reroute"):
        model = _model(_config(mode, factor=1.0))
        statistics = routing_statistics_of(model)
        statistics.add(_run(model, TRAINING)[1], torch.ones(B, T, dtype=torch.bool))
        use[mode] = statistics.metrics()["routing/capacity_use"]
    assert use["drop"] < use["reroute"] <= 1
