"""Small trainings that tests run on one and on several ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from camoe.config.phase import PARAMETER_GROUPS
from camoe.config.run import RunConfig
from camoe.data.answer_data import AnswerData
from camoe.data.answer_rows import PackedRows
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
from camoe.training.training_text import AnswerText, TrainingText
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
    "recompute": ("off", {}),
    "phases": ("v21", {}),
    "answers": ("v21", {}),
    "audited_answers": ("calibrated", MEASURED),
    **{router: ("off", {}) for router in BALANCED},
}
"""Name -> economy and what its settings differ in. In `padded`, sequences have targets that do not count; with
`answers`, half of the steps learn dialogues and half preferences."""
SWITCH = {"losses": {"switch": {"weight": 0.01}}}
GLOBAL = {
    "losses": {"switch": {"weight": 0.3, "scope": "global_batch"}, "cost": {"weight": 0.1, "scope": "global_batch"}},
    "capacity": {"mode": "drop", "factor": 0.75},
}
ROUTERS = {"global": GLOBAL, **{router: {"kind": router, **SWITCH} for router in BALANCED}}
"""Router of a case; otherwise `SWITCH`."""
ONLY_CRITIC = {"steps": 1, **dict.fromkeys(PARAMETER_GROUPS, 0.0), "critic": 1.0}
ONLY_PREFIX = {"steps": 1, **dict.fromkeys(PARAMETER_GROUPS, 0.0), "transformer_experts": 1.0}
ONLY_BRIDGE = {"steps": 1, **dict.fromkeys(PARAMETER_GROUPS, 0.0), "bridge": 1.0, "router_gate": 1.0}
MORE: dict[str, dict[str, Any]] = {
    "muon": {"optimizer": {"kind": "muon"}, "averaging": {"kind": "ema", "start": 0.5}},
    "recompute": {"train": {"recompute": "block"}},
    "phases": {
        "phase": {
            "schedule": {
                "normal": {"steps": 1},
                "criticwarm": {"steps": 1, **ONLY_CRITIC},
                "end": ONLY_PREFIX,
                "bridge": ONLY_BRIDGE,
            }
        }
    },
}
"""Other settings of a case."""
DRAWN = {"sft_path": "drawn", "preference_path": "drawn"}
PLAIN: dict[str, Any] = {"normal": {"steps": STEPS}}
ANSWERS: dict[str, Any] = {
    "normal": {"steps": 0},
    "sft": {"steps": STEPS // 2, "objective": "instruction", "data_profile": "sft"},
    "rlhf": {"steps": STEPS // 2, "objective": "preference", "data_profile": "preferences"},
}
DIVIDED = (
    "v21",
    "calibrated",
    "midpoint",
    "muon",
    "padded",
    "recompute",
    "phases",
    "audited_answers",
    "global",
    "quantile",
)
"""Cases that are also run with weights divided among ranks."""


OWNED: dict[int, list[tuple[str, str, int]]] = {
    2: [
        ("midpoint", "replicate", 2),
        ("recompute", "shard", 2),
        ("phases", "shard", 2),
        ("audited_answers", "replicate", 2),
    ],
    4: [("calibrated", "replicate", 4), ("global", "replicate", 2), ("midpoint", "shard", 2)],
}
"""By number of ranks: cases whose experts are run by so many ranks together, and how weights are held."""


def reads_answers(case: str) -> bool:
    """Whether the case's phases read dialogues and pairs."""
    return case.endswith("answers")


class Variant(NamedTuple):
    """A case with a step of `micro_batch` x `grad_accum` sequences, what a rank holds, and how many share experts."""

    case: str
    micro_batch: int = 2
    grad_accum: int = 2
    weights: str = "replicate"
    owners: int = 1

    def __str__(self) -> str:
        return f"{self.case}.{self.micro_batch}x{self.grad_accum}.{self.weights}{self.owners}"


RESUMED, HALF = Variant("calibrated"), "half"
"""What is saved in the middle of training, in a folder of that name, and gone on with by others."""


def variants(count: int) -> list[Variant]:
    """All that `count` ranks are tried on: each case in every way that they can share it, some also divided."""
    shapes = {2: ((2, 2), (4, 1)), 4: ((2, 2),)}[count]
    shared = [Variant(case, *shape) for case in CASES for shape in shapes]
    all_of_them = [*shared, *(Variant(case, *shapes[-1], "shard") for case in DIVIDED)]
    all_of_them += [Variant(case, *shapes[-1], *shared) for case, *shared in OWNED[count]]
    # With four, each has one row at a time, which would tear pairs of answers apart.
    return [variant for variant in all_of_them if count == 2 or not reads_answers(variant.case)]


def config_of(variant: Variant) -> RunConfig:
    """Four sequences per step, with held-out sequences, audits and a balance loss where the economy has them."""
    case, micro_batch, grad_accum, weights, owners = variant
    kind, economy = CASES[case]
    usual = {
        "economy": economy,
        "router": ROUTERS.get(case, SWITCH),
        "phase": {"schedule": ANSWERS if reads_answers(case) else PLAIN},
        "parallel": {"weights": weights, "experts": owners},
        "train": {"micro_batch": micro_batch, "grad_accum": grad_accum, "eval_sequences": 5},
        "data": DRAWN if reads_answers(case) else {},
    }
    own = MORE.get(case, {})
    return small_run(kind, **{**own, **{group: usual[group] | own.get(group, {}) for group in usual}})


class PaddedTrainer(Trainer):
    """Sequence i of a step has i real targets fewer at its end."""

    def batches(self, step: int) -> list[MicroBatch]:
        return [_padded(micro, part) for micro, part in zip(super().batches(step), self.share.parts, strict=True)]


def _padded(micro: MicroBatch, part: slice) -> MicroBatch:
    real = micro.batch.targets.shape[1] - torch.arange(part.start, part.stop)[:, None]
    hidden = torch.arange(micro.batch.targets.shape[1]) >= real
    return MicroBatch(Batch(micro.batch.inputs, micro.batch.targets.masked_fill(hidden, IGNORED)), micro.terms)


def drawn_answers(config: RunConfig) -> dict[str, AnswerText]:
    """Dialogues and pairs of drawn tokens, rows of 6 to 15 of which the last third is learned."""
    train = config.train
    return {
        profile: AnswerText.of(
            profile,
            AnswerData(_drawn_rows(22, per_item, 2), _drawn_rows(7, per_item, 3), {}),
            train.ctx_len,
            train.micro_batch * train.grad_accum,
            seed=0,
        )
        for profile, per_item in (("sft", 1), ("preferences", 2))
    }


def _drawn_rows(items: int, per_item: int, seed: int) -> PackedRows:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(6, 16, items * per_item)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = generator.integers(1, 256, starts[-1]).astype(np.uint16)
    tokens[starts[:-1]] = 0
    learned = np.concatenate([np.arange(length) >= length * 2 // 3 for length in lengths])
    return PackedRows(tokens, learned, starts, per_item)


def trainer_of(variant: Variant, ranks: Ranks, folder: Path) -> Trainer:
    """A fresh trainer on a fixed text."""
    config = config_of(variant)
    loader = BatchLoader(drawn_tokens(2000, 0), config.train.ctx_len, 4, seed=0)
    held_out = cut_windows(drawn_tokens(150, 1), config.train.ctx_len, ONE_BYTE)
    answers = drawn_answers(config) if reads_answers(variant.case) else {}
    kind = PaddedTrainer if variant.case == "padded" else Trainer
    return kind(
        config,
        LanguageModel(config),
        TrainingText(loader, held_out, answers),
        Bystander(RunFolder(folder)),
        CheckpointStore(folder),
        ProgressDisplay.silent(),
        ranks,
    )


def saved_tensors(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """What a checkpoint would hold, gathered from all ranks."""
    snapshot = trainer.snapshot()
    return {
        file: {**content, **{name: v.full_tensor() for name, v in snapshot.divided.get(file, {}).items()}}  # type: ignore[attr-defined]
        for file, content in snapshot.tensors.items()
    }


def _running_losses(trainer: Trainer) -> list[float]:
    """Means since the start, of every loss and of the gradient's norm."""
    own = ("loss/", "progress/grad_norm")
    return [value for name, value in sorted(trainer.window.record().items()) if name.startswith(own)]


def outcome(trainer: Trainer) -> dict[str, Tensor]:
    """Train to the end; the whole state, every loss, and an evaluation."""
    losses = {}
    while trainer.progress.step < STEPS:
        trainer.advance()
        losses[f"losses.{trainer.progress.step}"] = torch.tensor(_running_losses(trainer))
    evaluation = trainer.scores.of_text(trainer.scores.sample, keep_winners=True)
    assert evaluation.winners is not None
    saved = saved_tensors(trainer)
    return {
        **losses,
        "evaluation.nats": torch.tensor(evaluation.nats),
        "evaluation.token_nats": torch.from_numpy(evaluation.token_nats),
        "evaluation.winners": torch.from_numpy(evaluation.winners),
        **{f"evaluation.{name}": torch.tensor(value) for name, value in evaluation.record("valid").items()},
        **{f"{file}.{name}": v for file, tensors in saved.items() for name, v in tensors.items() if file != "random"},
    }
