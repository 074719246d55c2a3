"""Every arm of the studies of routers and systems passes the self-check, takes a few steps and is evaluated."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from camoe.training.self_check import self_check
from tests.sweeping.planned_study import planned
from tests.training.small_trainer import small_trainer

SMALL = (
    *("seed=1", "tokenizer=byte", "phase=flat", "tracking=local", "kernel.wkv=chunked"),
    *("model.n_embd=32", "model.head_size=16", "model.prefix_len=3", "model.low_rank=4", "experts.hidden_ratio=16"),
    *("train.ctx_len=32", "train.micro_batch=2", "train.grad_accum=2", "train.eval_sequences=2"),
)
STUDIES = ("router_ablation", "systems")
STEPS = 3


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_every_arm_trains(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in planned(study, *SMALL).runs:
        with small_trainer(run.config, tmp_path / run.planned.arm) as trainer:
            self_check(trainer.model, trainer.batches.to_check())
            for _ in range(STEPS):
                trainer.advance()
            metrics = trainer.window.record()
            loss = trainer.scores.of_text(trainer.scores.sample).loss
        assert trainer.progress.skipped_steps == 0, run.planned.arm
        assert math.isfinite(loss), run.planned.arm
        assert not {name: v for name, v in metrics.items() if isinstance(v, float) and math.isnan(v)}, run.planned.arm
