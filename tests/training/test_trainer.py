"""What a trainer leaves beside its records, and what a new one takes over from a snapshot."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from camoe.tracking.metrics_log import read_metrics
from camoe.training.interruption import Interrupted, Interruption
from camoe.training.trainer import Trainer
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

SEVEN_STEPS = {"phase": {"schedule": {"normal": {"steps": 7}}}, "train": {"eval_every": 3, "checkpoint_every": 100}}
AUDITED = {"credit": {"share": 1.0}, "alpha": {"holdout_share": 0.3}}


def _fit(trainer: Trainer) -> list[dict[str, Any]]:
    with Interruption() as interruption:
        trainer.fit(interruption)
    return read_metrics(trainer.tracker.folder.metrics_file)


class _SignalAfterQuestion(Interruption):
    """A signal that comes just after the loop has asked for one for the nth time."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    @property
    def requested(self) -> bool:
        """As the loop asks it."""
        found = super().requested
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGTERM)
        return found


@pytest.mark.parametrize("number", range(1, 6))
def test_whenever_a_signal_comes_the_last_step_is_saved(tmp_path: Path, number: int) -> None:
    config = small_run("off", **SEVEN_STEPS)
    with small_trainer(config, tmp_path) as trainer, pytest.raises(Interrupted):
        with _SignalAfterQuestion(number) as interruption:
            trainer.fit(interruption)
    newest, _ = trainer.checkpoints.latest()
    assert newest is not None
    assert newest.step == trainer.progress.step == number


def test_the_probe_is_kept_at_every_evaluation(tmp_path: Path) -> None:
    with small_trainer(small_run("off", **SEVEN_STEPS), tmp_path) as trainer:
        evaluated = [record["step"] for record in _fit(trainer) if "valid/loss" in record]
        names = {path.name for path in (trainer.tracker.folder.path / "probe").iterdir()}
    assert evaluated == [3, 6, 7]
    assert names == {"tokens.npz", *(f"step_{step:08d}.npz" for step in evaluated)}


def test_without_probe_tokens_none_is_kept(tmp_path: Path) -> None:
    config = small_run("off", **SEVEN_STEPS, tracking={"mlflow": False, "probe_tokens": 0})
    with small_trainer(config, tmp_path) as trainer:
        _fit(trainer)
        assert not (trainer.tracker.folder.path / "probe").exists()


@pytest.mark.parametrize("steps", [2, 5])
def test_a_snapshot_between_two_records_carries_what_was_spent(tmp_path: Path, steps: int) -> None:
    config = small_run("calibrated", economy=AUDITED, **SEVEN_STEPS, tracking={"mlflow": False, "log_every": 3})
    with small_trainer(config, tmp_path / "whole") as trainer:
        whole = _fit(trainer)[-2]
    with small_trainer(config, tmp_path / "first") as trainer:
        for _ in range(steps):
            trainer.advance()
            if trainer.progress.step % 3 == 0:
                trainer._log(trainer.schedule.at(0))
        snapshot = trainer.snapshot()
    with small_trainer(config, tmp_path / "second") as trainer:
        snapshot.values["tracker"].update(metrics_position=0, ledger_position=0)
        trainer.restore(snapshot)
        last = _fit(trainer)[-2]
    assert last["step"] == 7
    for name in ("progress/train_flops", "progress/tokens_seen", "progress/stream_hash"):
        assert last[name] == whole[name]
    assert last["time/training_s"] > snapshot.values["training_s"] > 0
