"""Small trainings that tests run on one and on several ranks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from camoe.config.run import RunConfig
from camoe.data.evaluation_windows import cut_windows
from camoe.data.loader import BatchLoader
from camoe.kernels.linear_cross_entropy import IGNORED
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.tracking.bystander import Bystander
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import CheckpointStore
from camoe.training.micro_batch import MicroBatch
from camoe.training.objectives import Batch
from camoe.training.trainer import Trainer
from camoe.training.training_text import TrainingText
from tests.small_run import small_run
from tests.training.small_trainer import ONE_BYTE, drawn_tokens

STEPS = 4
MEASURED = {"credit": {"share": 0.5}, "alpha": {"holdout_share": 0.4}}
BALANCED = ("loss_free", "quantile", "remoe", "expert_threshold")
"""Routers whose rules move by what all ranks have seen."""
CASES = {
    "off": ("off", {}),
    "v18": ("v18", {}),
    "v21": ("v21", {}),
    "calibrated": ("calibrated", MEASURED),
    "midpoint": ("calibrated", {**MEASURED, "credit": {"kind": "midpoint", "share": 1.0}}),
    "gradient": ("calibrated", {"credit": {"kind": "gradient"}, "congestion": {"kind": "quantile"}}),
    "padded": ("v21", {}),
    "muon": ("off", {}),
    "global": ("off", {}),
    **{router: ("off", {}) for router in BALANCED},
}
"""Name -> economy and what its settings differ in. In `padded`, sequences have targets that do not count."""
SWITCH = {"losses": {"switch": {"weight": 0.01}}}
GLOBAL = {
    "losses": {"switch": {"weight": 0.3, "scope": "global_batch"}, "cost": {"weight": 0.1, "scope": "global_batch"}},
    "capacity": {"mode": "drop", "factor": 0.75},
}
ROUTERS = {"global": GLOBAL, **{router: {"kind": router, **SWITCH} for router in BALANCED}}
"""Router of a case; otherwise `SWITCH`."""
MORE = {"muon": {"optimizer": {"kind": "muon"}, "averaging": {"kind": "ema", "start": 0.5}}}
"""Other settings of a case."""


def config_of(case: str, micro_batch: int = 2, grad_accum: int = 2) -> RunConfig:
    """Four sequences per step, with held-out sequences, audits and a balance loss where the economy has them."""
    kind, economy = CASES[case]
    return small_run(
        kind,
        economy=economy,
        router=ROUTERS.get(case, SWITCH),
        phase={"schedule": {"normal": {"steps": STEPS}}},
        train={"micro_batch": micro_batch, "grad_accum": grad_accum, "eval_sequences": 5},
        **MORE.get(case, {}),
    )


class PaddedTrainer(Trainer):
    """Sequence i of a step has i real targets fewer at its end."""

    def batches(self, step: int) -> list[MicroBatch]:
        return [_padded(micro, part) for micro, part in zip(super().batches(step), self.share.parts, strict=True)]


def _padded(micro: MicroBatch, part: slice) -> MicroBatch:
    real = micro.batch.targets.shape[1] - torch.arange(part.start, part.stop)[:, None]
    hidden = torch.arange(micro.batch.targets.shape[1]) >= real
    return MicroBatch(Batch(micro.batch.inputs, micro.batch.targets.masked_fill(hidden, IGNORED)), micro.terms)


def trainer_of(case: str, ranks: Ranks, folder: Path, micro_batch: int = 2, grad_accum: int = 2) -> Trainer:
    """A fresh trainer on a fixed text."""
    config = config_of(case, micro_batch, grad_accum)
    loader = BatchLoader(drawn_tokens(2000, 0), config.train.ctx_len, micro_batch * grad_accum, seed=0)
    held_out = cut_windows(drawn_tokens(150, 1), config.train.ctx_len, ONE_BYTE)
    kind = PaddedTrainer if case == "padded" else Trainer
    return kind(
        config,
        LanguageModel(config),
        TrainingText(loader, held_out),
        Bystander(RunFolder(folder)),
        CheckpointStore(folder),
        ProgressDisplay.silent(),
        ranks,
    )


def _running_losses(trainer: Trainer) -> list[float]:
    """Means since the start, of every loss and of the gradient's norm."""
    own = ("loss/", "progress/grad_norm")
    return [value for name, value in trainer.window.record().items() if name.startswith(own)]


def outcome(trainer: Trainer) -> dict[str, Tensor]:
    """Train to the end; the whole state, every loss, and an evaluation."""
    losses = []
    while trainer.progress.step < STEPS:
        trainer.advance()
        losses.append(torch.tensor(_running_losses(trainer)))
    evaluation = trainer.scores.of_text(trainer.scores.sample, keep_winners=True)
    assert evaluation.winners is not None
    saved = trainer.snapshot().tensors
    return {
        "losses": torch.stack(losses),
        "evaluation.nats": torch.tensor(evaluation.nats),
        "evaluation.token_nats": torch.from_numpy(evaluation.token_nats),
        "evaluation.winners": torch.from_numpy(evaluation.winners),
        **{f"evaluation.{name}": torch.tensor(value) for name, value in evaluation.record("valid").items()},
        **{f"{file}.{name}": v for file, tensors in saved.items() for name, v in tensors.items() if file != "random"},
    }
