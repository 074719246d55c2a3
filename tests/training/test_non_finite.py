"""A planted NaN or infinity is found where it was planted, kept, and found again; without one nothing is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.jobs.replay_batch import replay, verdict
from camoe.training.evidence import Evidence
from camoe.training.interruption import Interruption
from camoe.training.non_finite import Finding, NonFiniteTensor
from camoe.training.trainer import TooManySkippedSteps, Trainer
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

FINITE = [
    ("v21", {}),
    ("calibrated", {"train": {"recompute": "block"}}),
    ("calibrated", {"router": {"capacity": {"mode": "observe"}}, "train": {"precision": "bf16"}}),
    ("off", {"router": {"kind": "topk", "capacity": {"mode": "drop", "factor": 0.5}}}),
    ("off", {"router": {"kind": "topk"}, "experts": {"transformer_prefix": 0, "zero": 1, "constant": 1}}),
]


def watched(**groups: Any) -> Any:
    return small_run("v21", diagnostics="nan", train={"grad_accum": 1}, **groups)


class Spoilt(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
        return gradient * float("inf")


def in_a_weight(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.model.blocks[1].att.key.weight[3, 4] = float("nan")  # type: ignore[union-attr, index]


def in_the_market(trainer: Trainer) -> None:
    trainer.model.market.state.capital[1, 2] = float("inf")  # type: ignore[union-attr, index, operator]


def in_an_activation(trainer: Trainer) -> None:
    """Finite weights whose output is beyond float32."""
    with torch.no_grad():
        trainer.model.blocks[1].mixture.experts[0].value.weight.fill_(3e38)  # type: ignore[union-attr, index]


def in_a_gradient(trainer: Trainer) -> None:
    """The forward pass stays as it was."""
    norm = trainer.model.blocks[1].ln2
    plain = norm.forward  # type: ignore[union-attr]
    norm.forward = lambda x: plain(Spoilt.apply(x))  # type: ignore[union-attr, method-assign, assignment, operator]


def in_an_update(trainer: Trainer) -> None:
    """Weights of one layer that go beyond float32 by the optimiser's step alone."""
    for group in trainer.optimizer.param_groups:
        group["eps"] = 0.0
    real = trainer.optimizer.step

    def step(*args: Any, **more: Any) -> Any:
        result = real(*args, **more)
        with torch.no_grad():
            trainer.model.blocks[0].ln1.weight[0] = float("inf")  # type: ignore[union-attr, index]
        return result

    trainer.optimizer.step = step  # type: ignore[method-assign]


CASES: dict[str, tuple[Callable[[Trainer], None], tuple[str, int | None, str]]] = {
    "weight": (in_a_weight, ("state", 1, "time_mix")),
    "market": (in_the_market, ("state", None, "market")),
    "activation": (in_an_activation, ("forward", 1, "rwkv_ffn")),
    "gradient": (in_a_gradient, ("backward", 1, "block")),
    "update": (in_an_update, ("update", 0, "block")),
}


def stopped(trainer: Trainer) -> Finding:
    with pytest.raises(NonFiniteTensor) as caught:
        trainer.fit(Interruption())
    return caught.value.finding


@pytest.mark.parametrize("case", list(CASES))
def test_the_first_tensor_is_found_kept_and_found_again(case: str, tmp_path: Path) -> None:
    plant, expected = CASES[case]
    with small_trainer(watched(), tmp_path) as trainer:
        trainer.advance()
        plant(trainer)
        found = stopped(trainer)
        assert (found.stage, found.layer, found.room) == expected
        assert found.step == 2
        assert 0 <= found.finite_share < 1
        run = trainer.checkpoints.root.parent
        evidence = Evidence.newest(run)
        assert evidence.finding == found
        assert evidence.window.tolist() == trainer.loader.rows_of(1).tokens.tolist()
        assert not any(module._forward_hooks for module in trainer.model.modules())
    with small_trainer(watched(), tmp_path / "again") as again:
        if case in ("gradient", "update"):  # planted in code, which no checkpoint holds
            plant(again)
        repeated = replay(again, evidence)
        assert repeated == found
        assert verdict(found, repeated) == "replayed: the same first tensor, with the same statistics"


def test_what_a_finding_says(tmp_path: Path) -> None:
    with small_trainer(watched(), tmp_path) as trainer:
        in_a_weight(trainer)
        found = stopped(trainer)
        said = json.loads((Evidence.newest(trainer.checkpoints.root.parent).place / "finding.json").read_text())
    assert (found.tensor, found.shape, found.first_at) == ("blocks.1.att.key.weight", (32, 32), (3, 4))
    assert found.finite_share == 1023 / 1024
    assert found.minimum is not None
    assert found.maximum is not None
    assert found.minimum < 0 < found.maximum
    assert said["tensor"] == found.tensor
    assert str(found).startswith("step 1, state: blocks.1.att.key.weight (layer 1, room time_mix), shape [32, 32], not")


@pytest.mark.parametrize(("economy", "groups"), FINITE)
def test_a_finite_run_goes_through_and_learns_the_same(economy: str, groups: Any, tmp_path: Path) -> None:
    weights = []
    for mode in ("none", "nan"):
        config = small_run(economy, diagnostics=mode, **groups)
        with small_trainer(config, tmp_path / mode) as trainer:
            for _ in range(2):
                trainer.advance()
            weights.append({name: value.detach() for name, value in trainer.model.named_parameters()})
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_without_the_mode_the_step_is_skipped_counted_and_the_cause_can_be_found(tmp_path: Path) -> None:
    config = small_run("v21", train={"max_skipped_steps": 1, "grad_accum": 1})
    with small_trainer(config, tmp_path) as trainer:
        trainer.advance()
        in_an_activation(trainer)
        trainer.advance()
        assert (trainer.progress.step, trainer.progress.skipped_steps) == (2, 1)
        with pytest.raises(TooManySkippedSteps) as stop:
            trainer.advance()
        run = trainer.checkpoints.root.parent
    assert str(stop.value) == (
        "2 steps skipped for a loss or gradient that is not finite, the last one step 3 in phase normal; "
        f"train.max_skipped_steps allows 1; find the first tensor: python run.py resume={run} diagnostics=nan"
    )


def test_nothing_is_hooked_when_off(tmp_path: Path) -> None:
    with small_trainer(small_run("v21"), tmp_path) as trainer:
        assert trainer.watch is None
