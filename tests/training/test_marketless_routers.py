"""Whole training steps of routers without a market: figures are finite, only what may learn moves, resuming goes on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from camoe.config.router import STATIC
from camoe.model.parameter_groups import parameter_groups
from camoe.training.trainer import Trainer
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

KINDS = (*STATIC, "learned_soft", "modulo_prior")


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_steps_move_what_learns_and_all_figures_are_finite(kind: str, tmp_path: Path) -> None:
    config = small_run("off", router={"kind": kind}, train={"precision": "bf16"})
    with small_trainer(config, tmp_path) as trainer:
        before = _weights(trainer)
        for _ in range(3):
            trainer.advance()
        record = trainer.window.record()
        held_out = trainer.scores.of_text(trainer.scores.sample).record("valid")
        moved = {name for name, weight in _weights(trainer).items() if not torch.equal(weight, before[name])}
        groups = parameter_groups(trainer.model)
    assert any(name in moved for name in groups["rwkv_experts"])
    assert any(name in moved for name in groups["router_gate"]) == config.router.learns
    figures = {**record, **held_out}
    assert all(math.isfinite(value) for value in figures.values() if isinstance(value, float))
    assert ("routing/prior_override_rate" in record) == (kind == "modulo_prior")
    flips = ("market/market_flip_rate", "routing/noise_flip_rate")
    assert kind in ("frozen", "modulo_prior") or not any(record[name] for name in flips)


@pytest.mark.parametrize("kind", ["random", "dense", "modulo_prior"])
def test_a_resumed_run_goes_on_as_one_never_stopped(kind: str, tmp_path: Path) -> None:
    config = small_run("off", router={"kind": kind})
    with small_trainer(config, tmp_path / "whole") as whole, small_trainer(config, tmp_path / "again") as again:
        whole.advance()
        snapshot = whole.snapshot()
        again.restore(snapshot)
        for trainer in (whole, again):
            trainer.advance()
        expected, found = _weights(whole), _weights(again)
    assert all(torch.equal(weight, found[name]) for name, weight in expected.items())
