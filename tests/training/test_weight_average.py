"""The average against all weights of the window kept and added up, and a run that does not notice it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from camoe.tracking.metrics_log import read_metrics
from camoe.training.interruption import Interruption
from camoe.training.trainer import Trainer
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

TOTAL = 9
EVERY_KIND = [{"kind": "swa", "every": 2}, {"kind": "ema", "decay": 0.8}]


def config_of(**averaging: Any) -> Any:
    return small_run(
        averaging={"start": 0.5, **averaging},
        phase={"schedule": {"normal": {"steps": TOTAL}}},
        train={"eval_every": 3},
        tracking={"mlflow": False, "report": False, "probe_tokens": 8},
    )


def parameters_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().double() for name, value in trainer.model.named_parameters()}


@pytest.mark.parametrize("averaging", EVERY_KIND, ids=str)
def test_it_is_the_mean_over_the_declared_steps(averaging: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(**averaging)
    steps = [5, 7, 9] if averaging["kind"] == "swa" else [5, 6, 7, 8, 9]
    ages = [1.0] * 3 if averaging["kind"] == "swa" else [0.8**age for age in (4, 3, 2, 1, 0)]
    kept: list[dict[str, Tensor]] = []
    with small_trainer(config, tmp_path) as trainer:
        for step in range(1, TOTAL + 1):
            trainer.advance()
            assert bool(trainer.average.weights) == (step >= steps[0])
            if step in steps:
                kept.append(parameters_of(trainer))
        found = trainer.average.weights
    assert found.keys() == kept[0].keys()
    for name, value in found.items():
        mean = sum(age * weights[name] for age, weights in zip(ages, kept, strict=True)) / sum(ages)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)


def fit(trainer: Trainer) -> list[dict[str, Any]]:
    with Interruption() as interruption:
        trainer.fit(interruption)
    return read_metrics(trainer.tracker.folder.metrics_file)


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = ("time/", "valid_averaged/")
    return [{name: value for name, value in record.items() if not name.startswith(own)} for record in records]


def test_the_run_itself_does_not_notice(tmp_path: Path) -> None:
    """Records, weights, optimiser, market and generators: bit for bit those of a run without averaging."""
    results = {}
    for averaging in ({"kind": "none"}, *EVERY_KIND):
        torch.manual_seed(0)
        with small_trainer(config_of(**averaging), tmp_path / averaging["kind"]) as trainer:
            results[averaging["kind"]] = (without_time(fit(trainer)), trainer.snapshot())
    records, snapshot = results.pop("none")
    for other_records, other in results.values():
        assert str(other_records) == str(records)  # NaN equals itself in words
        for part in snapshot.tensors.keys() - {"averaged"}:
            assert snapshot.tensors[part].keys() == other.tensors[part].keys()
            for name, value in snapshot.tensors[part].items():
                torch.testing.assert_close(value, other.tensors[part][name], rtol=0, atol=0, equal_nan=True)


def test_evaluations_have_both_from_the_start_on(tmp_path: Path) -> None:
    with small_trainer(config_of(**EVERY_KIND[0]), tmp_path) as trainer:
        records = {record["step"]: record for record in fit(trainer) if "valid/bpb" in record}
        last = trainer.scores.averaged(trainer.scores.sample)
        raw = trainer.scores.of_text(trainer.scores.sample)
        trainer.model.load_state_dict({**trainer.model.state_dict(), **trainer.average.weights})
        assert last is not None
        np.testing.assert_array_equal(trainer.scores.of_text(trainer.scores.sample).token_nats, last.token_nats)
    assert {step for step, record in records.items() if "valid_averaged/bpb" in record} == {6, 9}
    assert records[9]["valid/bpb"] == raw.bits_per_byte
    assert records[9]["valid_averaged/bpb"] == last.bits_per_byte != raw.bits_per_byte


@pytest.mark.parametrize(("averaging", "steps"), zip(EVERY_KIND, (3, 6), strict=True), ids=str)
def test_it_goes_on_bit_for_bit(averaging: dict[str, Any], steps: int, tmp_path: Path) -> None:
    config = config_of(**averaging)
    with small_trainer(config, tmp_path / "whole") as trainer:
        for _ in range(TOTAL):
            trainer.advance()
        whole = trainer.average.weights
    with small_trainer(config, tmp_path / "first") as trainer:
        for _ in range(steps):
            trainer.advance()
        trainer.checkpoints.save(steps, trainer.snapshot())
        checkpoint, _ = trainer.checkpoints.latest()
        assert checkpoint is not None
        half = checkpoint.snapshot()
    with small_trainer(config, tmp_path / "second") as trainer:
        half.values["tracker"].update(metrics_position=0, ledger_position=0)
        trainer.restore(half)
        for _ in range(TOTAL - steps):
            trainer.advance()
        assert whole.keys() == trainer.average.weights.keys()
        assert all(torch.equal(value, trainer.average.weights[name]) for name, value in whole.items())
