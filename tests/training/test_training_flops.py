"""FLOPs of training, added up by hand from what the records say and from what was audited."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from camoe.config.run import RunConfig
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.tracking.metrics_log import read_metrics
from camoe.training.experiments import StepExperiments
from camoe.training.interruption import Interruption
from camoe.training.training_flops import AuditCost, training_flops
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

STEPS = {"phase": {"schedule": {"normal": {"steps": 7}}}, "tracking": {"log_every": 3, "mlflow": False}}


def _records(config: RunConfig, place: Path) -> list[dict]:
    with small_trainer(config, place) as trainer, Interruption() as interruption:
        trainer.fit(interruption)
        records = read_metrics(trainer.tracker.folder.metrics_file)
    return [record for record in records if "progress/train_flops" in record]


def test_a_token_costs_three_forward_passes_by_who_served(tmp_path: Path) -> None:
    total = 0.0
    for record in _records(small_run("off", **STEPS), tmp_path):
        total += 3 * record["routing/flops_per_token"] * record["routing/tokens"]
        assert record["progress/train_flops"] == pytest.approx(total, rel=1e-12)
    assert record["step"] == 7
    assert record["progress/tokens_seen"] == 7 * 64


def test_counting_load_ahead_costs_a_forward_pass_without_the_head(tmp_path: Path) -> None:
    losses = {"switch": {"scope": "global_batch"}}
    record = _records(small_run("off", router={"losses": losses}, **STEPS), tmp_path)[0]
    learned = 3 * record["routing/flops_per_token"] * record["routing/tokens"]
    whole, head = model_cost(LanguageModel(small_run("off"))).flops_per_token(2, 2), 2 * 256 * 32
    assert record["progress/train_flops"] / learned == pytest.approx(1 + (1 - head / whole) / 3)


@pytest.mark.parametrize(("kind", "passes"), [("replacement_audit", 1), ("leave_one_out", 4), ("midpoint", 2)])
def test_an_audit_costs_the_layers_from_the_audited_one_on_and_the_head(kind: str, passes: int) -> None:
    model = LanguageModel(small_run("calibrated", economy={"credit": {"kind": kind}}))
    rows = torch.tensor([0, 2, 3])
    experiments = StepExperiments(held_out=torch.zeros(4, dtype=torch.bool), audited=rows, experts=rows, layer=1)
    whole, head = model_cost(model).flops_per_token(2, 2), 2 * 256 * 32
    expected = passes * 3 * 16 * (head + (whole - head) / 2) / whole
    assert AuditCost.of(model).of_step(experiments, ctx_len=16) == pytest.approx(expected)
    assert training_flops(10.0, 5, 2.0) == 10 * (3 * 5 + 2)


def test_a_market_pays_for_its_audits_and_one_without_pays_nothing(tmp_path: Path) -> None:
    every_step = {"credit": {"kind": "replacement_audit", "share": 1.0}, "alpha": {"holdout_share": 0.0}}
    first = _records(small_run("calibrated", economy=every_step, **STEPS), tmp_path)[0]
    learned = 3 * first["routing/flops_per_token"] * first["routing/tokens"]
    assert 1 / 6 < first["progress/train_flops"] / learned - 1 < 1 / 3, "all layers or the upper half, on top of three"
    assert AuditCost.of(LanguageModel(small_run("v21"))).passes == 0
