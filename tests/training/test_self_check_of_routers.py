"""Every router passes the start-up self-check with one, two and all winners, and with a capacity."""

from __future__ import annotations

import pytest
import torch

from camoe.config.router import RANKING_ROUTERS
from camoe.model.language_model import LanguageModel
from camoe.training.objectives import Batch
from camoe.training.self_check import DeadMechanismError, self_check
from tests.router_kinds import CASES, KINDS, router_run

TOKENS = torch.randint(0, 256, (2, 17), generator=torch.Generator().manual_seed(0))
BATCH = Batch(TOKENS[:, :-1], TOKENS[:, 1:])


def test_every_router_has_a_case() -> None:
    assert {kind for kind, _ in CASES} == set(KINDS)
    assert {(kind, 2) for kind in ("dual_path", "market_only", "topk", "random")} <= set(CASES)


@pytest.mark.parametrize(("kind", "top_k"), CASES)
def test_a_router_learns_or_is_declared_static_and_sees_no_later_token(kind: str, top_k: int) -> None:
    losses = {"z": {"weight": 0.1}, "cost": {"weight": 0.1}}
    model = LanguageModel(router_run(kind, top_k, router={"losses": losses}))
    said = {check.what: check.figure for check in self_check(model, BATCH)}
    learns = any(what.startswith("gradient norm of language_model -> router_gate") for what in said)
    static = "gradient norm of the router, declared static" in said
    assert learns != static
    assert static or said["gradient norm of z -> router_gate"] > 0
    for mode, causal in (("evaluation", model.config.router.causal), ("training", model.config.router.trains_causally)):
        assert (f"causality in {mode}: earlier logits moved by" in said) == causal


@pytest.mark.parametrize("scope", ["sequence", "batch"])
@pytest.mark.parametrize("mode", ["drop", "reroute"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in RANKING_ROUTERS and kind != "market_only"])
def test_capacities_in_the_order_of_the_text_see_no_later_token(kind: str, mode: str, scope: str) -> None:
    model = LanguageModel(router_run(kind, 2, router={"capacity": {"mode": mode, "scope": scope, "factor": 0.75}}))
    assert any(check.what.startswith("causality in training") for check in self_check(model, BATCH))


def test_a_capacity_of_the_surest_is_declared_not_causal_and_is_not() -> None:
    capacity = {"mode": "drop", "policy": "probability", "factor": 0.5}
    model = LanguageModel(router_run("topk", 2, router={"capacity": capacity}))
    checks = {check.what: check.figure for check in self_check(model, BATCH)}
    assert checks["declared not causal in training: earlier logits moved by"] > 1e-4
    assert "causality in evaluation: earlier logits moved by" in checks


def test_a_router_that_looks_ahead_in_training_is_named() -> None:
    model = LanguageModel(router_run("topk", 2))
    for block in model.blocks:
        router = block.mixture.router
        original = router.forward
        router.forward = lambda h, context, opinion, original=original: original(
            h + h.mean(1, keepdim=True) if context.terms.training else h, context, opinion
        )
    with pytest.raises(DeadMechanismError, match="in training, changing the last token"):
        self_check(model, BATCH)
