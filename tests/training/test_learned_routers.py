"""Balancing rules in training: moved once per step, saved and resumed to the last bit, still in evaluation."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camoe.config.router import LEARNED
from camoe.config.run import RunConfig
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

MOVED = {
    "loss_free": "bias",
    "quantile": "beta",
    "remoe": "coefficient",
    "expert_threshold": "threshold",
}


def _config(kind: str) -> RunConfig:
    return small_run("off", router={"kind": kind, "top_k": 1 if kind == "base" else 2})


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    named = (*module.named_parameters(), *module.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in named}


def _differing(before: dict[str, Tensor], module: nn.Module) -> list[str]:
    after = _tensors(module)
    return [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]


@pytest.mark.parametrize("kind", LEARNED)
def test_a_resumed_run_goes_on_as_if_never_stopped(kind: str, tmp_path: Path) -> None:
    with small_trainer(_config(kind), tmp_path / "whole") as trainer:
        trainer.advance()
        trainer.advance()
        saved, balance = deepcopy(trainer.snapshot()), _tensors(trainer.model.balancer)
        trainer.scores.of_text(trainer.scores.sample)
        assert _differing(balance, trainer.model.balancer) == []
        trainer.advance()
        weights = _tensors(trainer.model)
    if kind in MOVED:
        assert bool(balance[MOVED[kind]].count_nonzero())
        assert not torch.equal(balance[MOVED[kind]], weights[f"balancer.{MOVED[kind]}"])
    with small_trainer(_config(kind), tmp_path / "resumed") as trainer:
        trainer.restore(saved)
        trainer.advance()
        assert _differing(weights, trainer.model) == []
