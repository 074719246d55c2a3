"""The text of a run, cut into training sequences and held-out windows."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config import RunConfig
from camoe.data.corpus import Corpus
from camoe.data.evaluation_windows import EvaluationWindows, evaluation_windows
from camoe.data.loader import BatchLoader


@dataclass(frozen=True)
class TrainingText:
    """What a trainer reads; made before a run folder exists, so that too short a text leaves nothing behind."""

    loader: BatchLoader
    held_out: EvaluationWindows

    @classmethod
    def of(cls, config: RunConfig, corpus: Corpus) -> TrainingText:
        """Cut the corpus; ConfigError where it does not fill one window."""
        train = config.train
        sequences = train.micro_batch * train.grad_accum
        loader = BatchLoader(corpus.train.tokens, train.ctx_len, sequences, config.seeds.data)
        return cls(loader, evaluation_windows(corpus, train.ctx_len))
