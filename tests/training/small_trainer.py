"""A whole trainer on drawn tokens, in this process."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from camoe.config.run import RunConfig
from camoe.data.evaluation_windows import cut_windows
from camoe.data.loader import BatchLoader
from camoe.model.language_model import LanguageModel
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.training.checkpoint import CheckpointStore
from camoe.training.trainer import Trainer
from camoe.training.training_text import AnswerText, TrainingText

ONE_BYTE = np.ones(256, dtype=np.int64)


def drawn_tokens(count: int, seed: int) -> np.ndarray:
    """Text of `count` tokens, with a separator at both ends and here and there."""
    tokens = np.random.default_rng(seed).integers(1, 256, count).astype(np.uint16)
    tokens[[0, count // 3, count // 2, count - 1]] = 0
    return tokens


@contextmanager
def small_trainer(config: RunConfig, place: Path, answers: Mapping[str, AnswerText] | None = None) -> Iterator[Trainer]:
    """Ready for its first step; its run folder lies in `place`."""
    train = config.train
    text = TrainingText(
        BatchLoader(drawn_tokens(3000, 0), train.ctx_len, train.micro_batch * train.grad_accum, config.seeds.data),
        cut_windows(drawn_tokens(301, 1), train.ctx_len, ONE_BYTE),
        answers or {},
    )
    folder = RunFolder.create(place, "test", "0", config=asdict(config))
    tracker, checkpoints = Tracker.open(folder, config.tracking), CheckpointStore(folder.checkpoints)
    with ProgressDisplay(config.phase.total_steps, 1, folder.log_file, Console(file=io.StringIO())) as display:
        yield Trainer(config, LanguageModel(config), text, tracker, checkpoints, display)
        tracker.finish("finished")
