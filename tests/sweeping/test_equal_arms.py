"""Arms of the studies that claim equal FLOPs have them: as composed, and as measured."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from camoe.config.calibrated import CalibratedConfig
from camoe.model.cost import model_cost
from camoe.model.equal_flops import training_flops_per_token
from camoe.model.language_model import LanguageModel
from tests.sweeping import planned_study
from tests.training.small_trainer import small_trainer

STUDIES = ("router_ablation", "systems")
WITHOUT_A_PRICE = {"v21": 0.03, "v21_market_only": 0.03, "cdrmix_drop": 0.2}
"""What may move FLOPs in arms that have no price of them: who serves, by published rules; what is dropped."""
WHILE_PRICES_MOVE = 0.02
"""Still, after MOVING small steps. In 180 steps of the study topk was 0.4 % off, calibrated 0.2 %."""
SHORT = (
    *("seed=1", "tokenizer=byte", "tracking=local", "kernel.wkv=chunked"),
    *("train.ctx_len=64", "train.micro_batch=4", "train.eval_sequences=2"),
)
HALF_LIFE = 2.5e3
"""Of the market's price: as short in these steps of 256 tokens as the studies' is in theirs of 1,024."""
STEPS = 60
MOVING = 40
"""Steps that prices, which start at zero, are given first."""

planned = cache(planned_study.planned)


def _even(model: LanguageModel) -> float:
    return model_cost(model).flops_per_token(model.config.model.n_layer, model.config.router.top_k)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("experts=8r0t",)], ids=["as registered", "homogeneous"])
@pytest.mark.parametrize("study", [*STUDIES, "study_capital"])
def test_all_arms_are_composed_to_cost_the_same(study: str, more: tuple[str, ...]) -> None:
    if study == "systems" and more:
        pytest.skip("its arms name their mixes")
    costs = {}
    for run in planned(study, "seed=1", *more).runs:
        with torch.device("meta"):
            costs[run.planned.arm] = training_flops_per_token(LanguageModel(run.config))
    assert max(costs.values()) / min(costs.values()) < 1.001, costs


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_measured_flops_of_training_agree(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per token, from the load that experts had, over those of an even load, at which all arms cost the same."""
    monkeypatch.chdir(tmp_path)
    ratios = {}
    for run in planned(study, *SHORT).runs:
        if "placebo" in run.planned.arm:  # their price is that of the arm that they are held against
            continue
        config = run.config
        if isinstance(config.economy, CalibratedConfig):
            compute = replace(config.economy.compute, half_life=HALF_LIFE)
            config = replace(config, economy=replace(config.economy, compute=compute))
        with small_trainer(config, tmp_path / run.planned.arm) as trainer:
            for _ in range(MOVING):
                trainer.advance()
            trainer.window.reset()
            for _ in range(STEPS - MOVING):
                trainer.advance()
            forward = trainer.window.record()["routing/flops_per_token"]
            ratios[run.planned.arm] = forward / _even(trainer.model)
    wrong = {
        arm: ratio for arm, ratio in ratios.items() if abs(ratio - 1) > WITHOUT_A_PRICE.get(arm, WHILE_PRICES_MOVE)
    }
    assert not wrong, ratios
