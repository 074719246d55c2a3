"""Muon's step against a plain loop over single matrices, and its life in a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camoe.config import ConfigError
from camoe.config.optimizer import OptimizerConfig
from camoe.config.phase import PhaseConfig
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.training import muon
from camoe.training.checkpoint import Snapshot
from camoe.training.muon import MuonAdamW
from camoe.training.optimizers import build_optimizer, set_rates
from camoe.training.orthogonalization import orthogonalize
from camoe.training.phases import Phase
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

MUON = OptimizerConfig(kind="muon", weight_decay=0.1)
BLOCK = "blocks.1."
MATRICES = {
    **{f"att.{name}.weight": (32, 32) for name in ("receptance", "key", "value", "output")},
    "dea.qq.weight": (256, 32),
    **{f"mixture.experts.{index}.key.weight": (128, 32) for index in range(3)},
    **{f"mixture.experts.{index}.value.weight": (32, 128) for index in range(3)},
    **{f"mixture.experts.3.{name}.weight": (32, 32) for name in ("query", "key", "value", "output", "output_gate")},
    "mixture.router.gate.weight_in": (64, 32),  # of each of four experts
}


def optimizer_of(model: LanguageModel, config: OptimizerConfig) -> MuonAdamW:
    optimizer = build_optimizer(config, parameter_groups(model), "cpu", stacked=stacked_matrices(model))
    assert isinstance(optimizer, MuonAdamW)
    return optimizer


def matrices_of(model: LanguageModel, config: OptimizerConfig) -> dict[str, tuple[int, int]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = optimizer_of(model, config).param_groups
    assert {names[parameter] for group in groups for parameter in group["params"]} == set(names.values())
    return {names[p]: group["matrix"] for group in groups if "matrix" in group for p in group["params"]}


def test_hidden_matrices_and_no_others() -> None:
    model = LanguageModel(small_run(model={"deep_embed_attention": True, "tie_embeddings": False}))
    found = matrices_of(model, MUON)
    assert {n.removeprefix(BLOCK): shape for n, shape in found.items() if n.startswith(BLOCK)} == MATRICES
    assert all(name.startswith("blocks.") for name in found)


def test_the_router_can_stay_with_adamw() -> None:
    model = LanguageModel(small_run())
    kept = set(matrices_of(model, MUON)) - set(matrices_of(model, OptimizerConfig(kind="muon", muon_router=False)))
    assert kept == {f"blocks.{layer}.mixture.router.gate.weight_in" for layer in range(2)}


def group_of(parameters: list[nn.Parameter], rows: int, columns: int) -> dict:
    return {"params": parameters, "matrix": (rows, columns), "lr": 0.02, "weight_decay": 0.1}


def muon_alone(group: dict, momentum: float, products: torch.dtype | None = None) -> MuonAdamW:
    """AdamW gets a parameter that never has a gradient."""
    rest = {"params": [nn.Parameter(torch.zeros(1))]}
    return MuonAdamW([group, rest], momentum=momentum, products=products, adamw={})


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def plain_steps(weight: Tensor, gradients: list[Tensor]) -> Tensor:
    """One matrix by itself: momentum 0.9 with look ahead, rate 0.02, decay 0.1."""
    momentum, weight = torch.zeros_like(weight), weight.clone()
    for gradient in gradients:
        momentum = 0.9 * momentum + 0.1 * gradient
        (direction,) = orthogonalize((0.1 * gradient + 0.9 * momentum)[None])
        weight = (1 - 0.02 * 0.1) * weight - 0.02 * 0.2 * max(weight.shape) ** 0.5 * direction
    return weight


@pytest.mark.parametrize("chunk", [1, 70, 10**6])
def test_every_matrix_moves_as_if_alone(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two experts' matrices, and three more that lie on top of each other in one parameter, and stacked in another."""
    monkeypatch.setattr(muon, "CHUNK", chunk)
    shapes = [(5, 7), (5, 7), (15, 7), (3, 5, 7)]
    parameters = [nn.Parameter(weight) for weight in drawn(*shapes)]
    given = [drawn(*shapes, seed=step) for step in (1, 2, 3)]
    expected = [
        torch.stack(
            [
                plain_steps(matrix, [gradients[index].view(-1, 5, 7)[number] for gradients in given])
                for number, matrix in enumerate(parameter.detach().view(-1, 5, 7))
            ]
        )
        for index, parameter in enumerate(parameters)
    ]
    optimizer = muon_alone(group_of(parameters, 5, 7), 0.9)
    for gradients in given:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    for parameter, matrices in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach().view(-1, 5, 7), matrices)


@pytest.mark.parametrize("shape", [(24, 40), (33, 8)], ids=str)
def test_torch_agrees_up_to_its_bfloat16(shape: tuple[int, int]) -> None:
    start = drawn(shape)[0].float()
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        muon_alone(group_of([ours], *shape), 0.95, torch.bfloat16),
        torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for seed in range(4):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = drawn(shape, seed=seed)[0].float()
            optimizer.step()
    our_way, their_way = (parameter.detach() - start for parameter in (ours, theirs))
    assert float((our_way - their_way).norm() / their_way.norm()) < 0.02
    assert float(our_way.norm() / their_way.norm()) == pytest.approx(1, rel=0.02)


def test_a_step_has_the_size_of_one_of_adamw() -> None:
    """Root mean square 0.2 of the rate, whatever the shape: what AdamW's steps typically have."""
    for shape in [(64, 64), (16, 256), (256, 16)]:
        parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        parameter.grad = drawn(shape)[0]
        muon_alone(group_of([parameter], *shape), 0.95).step()
        assert float(parameter.detach().square().mean().sqrt()) / 0.02 == pytest.approx(0.2, rel=0.25)


def test_the_rest_takes_adamws_step_at_the_rates_that_were_set() -> None:
    """And a parameter without a gradient, as of a frozen group or an expert nobody elected, stays and has no state."""
    config = small_run()
    models = [LanguageModel(config) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [optimizer_of(models[0], MUON), build_optimizer(OptimizerConfig(), parameter_groups(models[1]), "cpu")]
    phase = Phase("some", PhaseConfig(steps=1, rwkv_backbone=0.5), 0, 1)
    before = {name: parameter.detach().clone() for name, parameter in models[0].named_parameters()}
    idle = {"blocks.0.mixture.experts.1.key.weight", "bridge.up.weight"}
    for model, optimizer in zip(models, optimizers, strict=True):
        for name, parameter in model.named_parameters():
            parameter.grad = None if name in idle else torch.full_like(parameter, 0.01)
        set_rates(optimizer, 0.01, phase)
        optimizer.step()
    orthogonalized = matrices_of(models[0], MUON)
    others = dict(models[1].named_parameters())
    for name, parameter in models[0].named_parameters():
        assert torch.equal(parameter, before[name]) == (name in idle), name
        assert torch.equal(parameter, others[name]) == (name not in orthogonalized or name in idle), name
        assert bool(optimizers[0].state.get(parameter)) == (name not in idle)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_goes_on_bit_for_bit(precision: str, tmp_path: Path) -> None:
    """Through a freeze: in the first phase nothing but the gate learns."""
    frozen = {"rwkv_backbone": 0, "rwkv_experts": 0, "transformer_experts": 0, "embedding_head": 0, "bridge": 0}
    config = small_run(
        optimizer={"kind": "muon"},
        train={"precision": precision},
        phase={"schedule": {"first": {"steps": 1, **frozen}, "normal": {"steps": 4}}},
    )
    with small_trainer(config, tmp_path / "whole") as trainer:
        for _ in range(5):
            trainer.advance()
        whole = trainer.snapshot()
        assert {key.partition("|")[2] for key in whole.tensors["optimizer"]} == {
            "momentum_buffer",
            "step",
            "exp_avg",
            "exp_avg_sq",
        }
    with small_trainer(config, tmp_path / "first") as trainer:
        for _ in range(3):
            trainer.advance()
        trainer.checkpoints.save(3, trainer.snapshot())
        checkpoint, _ = trainer.checkpoints.latest()
        assert checkpoint is not None
        half = checkpoint.snapshot()
    with small_trainer(config, tmp_path / "second") as trainer:
        half.values["tracker"].update(metrics_position=0, ledger_position=0)
        trainer.restore(half)
        for _ in range(2):
            trainer.advance()
        assert_equal(trainer.snapshot(), whole)


def assert_equal(one: Snapshot, other: Snapshot) -> None:
    for part in ("model", "optimizer"):
        assert one.tensors[part].keys() == other.tensors[part].keys()
        for name, value in one.tensors[part].items():
            assert torch.equal(value, other.tensors[part][name]), name


def test_momentum_must_fade() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.muon_momentum: 1\.0; must be below 1"):
        OptimizerConfig(muon_momentum=1.0)
