"""Expert choice against its rule written out; that it reads ahead is shown, not hidden."""

from __future__ import annotations

import math

import pytest
import torch

from camoe.config.learned_router import ExpertChoiceConfig
from camoe.routing.routers.expert_choice import ExpertChoice
from tests.routing.routed import GivenGate
from tests.routing.routing_context import context

E, T = 4, 10


def _router(top_k: int, factor: float = 1.0) -> ExpertChoice:
    router = ExpertChoice(ExpertChoiceConfig(top_k=top_k, choice_factor=factor), 8, E)
    router.gate = GivenGate()
    return router


@pytest.mark.parametrize(("top_k", "factor"), [(1, 1.0), (2, 1.0), (2, 1.5), (4, 1.0), (4, 2.0)])
def test_every_expert_takes_the_tokens_it_scores_highest(top_k: int, factor: float) -> None:
    logits = torch.randn(2, T, E).round()  # so that some tie
    decision = _router(top_k, factor)(logits, context(logits), None)
    scores, seats = torch.softmax(logits, -1), min(T, math.ceil(factor * T * top_k / E))
    assert decision.active is not None
    active = torch.zeros(2, T, E, dtype=torch.bool).scatter(-1, decision.experts, decision.active)
    weights = torch.zeros(2, T, E).scatter(-1, decision.experts, decision.weights)
    for b in range(2):
        for e in range(E):
            column = scores[b, :, e].tolist()
            taken = sorted(range(T), key=lambda t: (-column[t], t))[:seats]
            assert active[b, :, e].nonzero().flatten().tolist() == sorted(taken)
    assert torch.equal(weights, scores * active)


def test_a_later_token_takes_a_place_away() -> None:
    logits = torch.zeros(1, T, E)
    changed = logits.clone()
    changed[0, -1, 0] = 9.0
    router = _router(1)
    before, after = router(logits, context(logits), None), router(changed, context(changed), None)
    assert before.active is not None
    assert after.active is not None
    assert not torch.equal(before.active[:, :-1], after.active[:, :-1])
