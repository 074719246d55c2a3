"""One of several ranks: trains every variant, goes on from checkpoints of others, and leaves what came of it.

python -m tests.distributed.worker FOLDER [NAME=CHECKPOINTS ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from camoe.kernels.ranks import Ranks
from camoe.training.distributed import connected
from camoe.training.trainer import Trainer
from tests.distributed.cases import HALF, RESUMED, STEPS, outcome, trainer_of, variants


def main(folder: Path, others: dict[str, Path]) -> None:
    """Train and save."""
    with connected("cpu") as ranks:
        for variant in variants(ranks.count):
            _leave(trainer_of(variant, ranks, folder), folder / f"{variant}.rank{ranks.index}.safetensors")
        _save_half(ranks, folder)
        for weights in ("replicate", "shard"):
            for name, checkpoints in others.items():
                trainer = trainer_of(RESUMED._replace(weights=weights), ranks, checkpoints)
                checkpoint, _ = trainer.checkpoints.latest()
                assert checkpoint is not None
                trainer.restore(checkpoint.snapshot())
                _leave(trainer, folder / f"{name}.{weights}.rank{ranks.index}.safetensors")


def _save_half(ranks: Ranks, folder: Path) -> None:
    """A checkpoint in the middle of training, its weights divided."""
    trainer = trainer_of(RESUMED._replace(weights="shard"), ranks, folder / HALF)
    while trainer.progress.step < STEPS // 2:
        trainer.advance()
    trainer.checkpoints.save(trainer.progress.step, trainer.snapshot(), ranks)
    ranks.tell("saved" if ranks.is_first else None)


def _leave(trainer: Trainer, file: Path) -> None:
    save_file({name: value.contiguous().clone() for name, value in outcome(trainer).items()}, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), {name: Path(path) for name, path in (given.split("=") for given in sys.argv[2:])})
