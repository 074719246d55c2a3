"""Experts as wide as makes training cost the same in every arm, whatever chooses them and whatever watches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from camoe.config import ConfigError
from camoe.config.run import RunConfig
from camoe.model.cost import model_cost
from camoe.model.equal_flops import reference_flops, training_flops_per_token
from camoe.model.language_model import LanguageModel
from camoe.training.experiments import Experiments
from camoe.training.training_flops import AuditCost
from tests.small_run import small_run

MIX: dict[str, Any] = {"rwkv_ffn": 3, "transformer_prefix": 1, "hidden": 900}
ARMS: list[tuple[str, dict[str, Any]]] = [
    *(("off", {"router": {"kind": kind}}) for kind in ("random", "frozen", "topk", "dense", "learned_soft")),
    ("off", {"router": {"kind": "topk", "gate": "linear"}}),
    ("v21", {}),
    ("calibrated", {}),
    ("calibrated", {"economy": {"credit": {"kind": "leave_one_out", "share": 0.5}}}),
    ("calibrated", {"economy": {"credit": {"kind": "midpoint"}, "alpha": {"kind": "fixed"}}}),
]


def _arm(kind: str, groups: dict[str, Any], **mix: Any) -> RunConfig:
    return small_run(kind, **{**groups, "experts": {**MIX, "equal_flops": True, **mix}})


@pytest.mark.parametrize(("kind", "groups"), ARMS)
def test_every_arm_costs_what_the_mix_costs_under_a_gate_to_half_a_hidden_unit(kind: str, groups: dict) -> None:
    config = _arm(kind, groups)
    with torch.device("meta"):
        model = LanguageModel(config)
    reference = small_run("off", router={"kind": "topk"}, experts=MIX)
    with torch.device("meta"):
        target = 3 * model_cost(LanguageModel(reference)).flops_per_token(2, 2)
    assert reference_flops(config, LanguageModel) == target
    share = model.config.router.top_k * model.config.experts.rwkv_ffn / model.config.experts.total
    unit = 3.5 * 2 * share * 4 * 32  # passes, layers, how often one serves, both matrices
    assert abs(training_flops_per_token(model) - target) <= unit / 2
    assert not model.config.experts.equal_flops


def test_what_is_expected_of_audits_is_what_steps_cost_on_average() -> None:
    credit = {"kind": "replacement_audit", "share": 0.25}
    model = LanguageModel(small_run("calibrated", economy={"credit": credit, "alpha": {"holdout_share": 0.25}}))
    experiments, cost, steps, sequences = Experiments(3, model.market, 4), AuditCost.of(model), 400, 8
    spent = sum(cost.of_step(experiments.of_step(step, sequences), ctx_len=16) for step in range(steps))
    learned = 3 * steps * sequences * 16
    forward = model_cost(model).flops_per_token(2, 2)
    assert training_flops_per_token(model) == pytest.approx(forward * 3 * (1 + spent / learned), rel=2e-3)


def test_what_watches_makes_experts_narrower_and_a_gate_the_less_makes_them_wider() -> None:
    widths = []
    for kind, router in (("off", "random"), ("off", "topk"), ("v21", "dual_path"), ("calibrated", "dual_path")):
        with torch.device("meta"):
            widths.append(LanguageModel(_arm(kind, {"router": {"kind": router}})).config.experts.hidden)
    assert widths[1] == 900
    assert widths == sorted(set(widths), reverse=True)


def test_wide_experts_keep_to_widths_that_grouped_products_take() -> None:
    with torch.device("meta"):
        model = LanguageModel(_arm("v21", {}, hidden=2_345))
    assert model.config.experts.hidden is not None
    assert 1024 < model.config.experts.hidden < 2_345
    assert model.config.experts.hidden % 8 == 0


def test_off_leaves_the_widths_alone() -> None:
    assert LanguageModel(small_run("v21", experts=MIX)).config.experts.hidden == 900


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^experts\.equal_flops: with experts of one hidden unit training costs 1\.\d\d"
    ):
        LanguageModel(_arm("v21", {}, hidden=8))
    with pytest.raises(ConfigError, match=r"all of one width, but has none; choose another mix \(group experts\)$"):
        _arm("v21", {}, rwkv_ffn=0, transformer_prefix=4)
    with pytest.raises(ConfigError, match=r"has rwkv_ffn 128, swiglu 32; give experts\.hidden$"):
        _arm("v21", {}, rwkv_ffn=3, swiglu=1, transformer_prefix=0, hidden=None)
