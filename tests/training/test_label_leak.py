"""Tokens drawn at random cannot be predicted: a model that does has seen its targets.

A model learns for some steps on uniform random tokens, new ones at every step, and is then scored on new ones. Whatever
it has learned, the expected loss of a causal model is at least ln V nats per token, so that a mean far below is a leak.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.config.run import RunConfig
from camoe.model.language_model import LanguageModel
from camoe.routing.decision import RoutingDecision
from camoe.routing.election_terms import NO_EXPERIMENT, ElectionTerms
from camoe.training.objectives import Batch, compute_losses
from tests.router_kinds import CASES, KINDS, router_run

V, SEQUENCES, T, STEPS = 8, 16, 16, 20
SMALLEST_CHANCE = 5.0
"""Standard errors below ln V that are called a leak: chance alone reaches them once in 3.5 million."""


def _config(kind: str, **groups: Any) -> RunConfig:
    model = {"n_layer": 1, **groups.get("model", {})}
    config = router_run(kind, 1 if (kind, 2) not in CASES else 2, **{**groups, "model": model})
    config.tokenizer.vocab_size = V
    return config


class _Trial:
    """Trains a model and scores it as training sees it, or as evaluation does."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.chance = model, torch.Generator().manual_seed(1)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.99))

    def _batch(self) -> Batch:
        tokens = torch.randint(0, V, (SEQUENCES, T + 1), generator=self.chance)
        return Batch(tokens[:, :-1], tokens[:, 1:])

    def _training_terms(self) -> ElectionTerms:
        shape = (SEQUENCES, self.model.config.model.n_layer, T, self.model.config.experts.total)
        return ElectionTerms(torch.randn(shape, generator=self.chance), training=True)

    def learn(self) -> None:
        for _ in range(STEPS):
            self.optimizer.zero_grad()
            compute_losses(self.model, self._batch(), self._training_terms()).total.backward()
            self.optimizer.step()

    @torch.no_grad()
    def deviations_below_chance(self, *, training: bool, batches: int = 4) -> float:
        """How many standard errors the mean loss lies below ln V."""
        losses: list[Tensor] = []
        for _ in range(batches):
            terms = self._training_terms() if training else NO_EXPERIMENT
            losses.append(compute_losses(self.model, self._batch(), terms).token_loss.flatten())
        nats = torch.cat(losses).double()
        return float((math.log(V) - nats.mean()) / (nats.std() / math.sqrt(len(nats))))


def _trial(model: LanguageModel) -> _Trial:
    torch.manual_seed(0)
    trial = _Trial(model)
    trial.learn()
    return trial


def _leaks(model: LanguageModel) -> list[str]:
    """The modes, of those that are declared causal, in which the model predicts what it cannot know."""
    trial, router = _trial(model), model.config.router
    modes = {"evaluation": router.causal, "training": router.trains_causally}
    return [
        mode
        for mode, causal in modes.items()
        if causal and trial.deviations_below_chance(training=mode == "training") > SMALLEST_CHANCE
    ]


def _look_ahead(model: LanguageModel) -> None:
    """Make every router send a token to the expert that its target's number names."""
    for block in model.blocks:
        router: Any = block.mixture.router

        def forward(h: Tensor, context: Any, opinion: Any, original: Any = router.forward) -> RoutingDecision:
            following = torch.cat((context.tokens[:, 1:], context.tokens[:, -1:]), 1)
            told = 10.0 * torch.nn.functional.one_hot(following % 4, 4).to(h)
            return original(h, context._replace(terms=replace(context.terms, preference=told)), opinion)

        router.forward = forward


def test_a_router_that_sees_the_target_is_found() -> None:
    model = LanguageModel(_config("dual_path"))
    _look_ahead(model)
    assert _leaks(model) == ["evaluation", "training"]


def test_one_that_does_not_is_not() -> None:
    assert _leaks(LanguageModel(_config("dual_path"))) == []


ATTENTION = {
    "model": {"layers": "top", "attention_ratio": 1.0},
    "experts": {"rwkv_ffn": 4, "transformer_prefix": 0},
}
CAPACITIES = [
    {"mode": mode, "scope": scope, "factor": 0.75} for mode in ("drop", "reroute") for scope in ("sequence", "batch")
]
COMPOSITIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in KINDS},
    **{
        f"{kind}-{capacity['mode']}-{capacity['scope']}": (kind, {"router": {"capacity": capacity}})
        for kind in ("dual_path", "topk")
        for capacity in CAPACITIES
    },
    **{f"{kind}-attention": (kind, ATTENTION) for kind in ("topk", "random")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_nothing_that_is_declared_causal_leaks(name: str) -> None:
    kind, groups = COMPOSITIONS[name]
    assert _leaks(LanguageModel(_config(kind, **groups))) == []
