"""The text of a run, cut into training sequences and held-out windows, by data profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from camoe.config import RunConfig
from camoe.data.answer_data import SETTINGS, AnswerData, prepare_answers
from camoe.data.answer_loader import AnswerLoader
from camoe.data.answer_rows import AnswerRows
from camoe.data.corpus import Corpus
from camoe.data.document_rows import DocumentRows
from camoe.data.evaluation_windows import EvaluationWindows, evaluation_windows
from camoe.data.loader import BatchLoader


@dataclass(frozen=True)
class AnswerText:
    """Dialogues or pairs: those to learn from, and those held out."""

    loader: AnswerLoader[AnswerRows]
    held_out: AnswerRows

    @classmethod
    def of(cls, profile: str, data: AnswerData, ctx_len: int, sequences: int, seed: int) -> AnswerText:
        """Cut the data of one profile; ConfigError where ctx_len leaves nothing of a part."""
        held_out = AnswerRows(data.valid, ctx_len)
        held_out.check(SETTINGS[profile])
        return cls(AnswerLoader(AnswerRows(data.train, ctx_len), sequences, seed, SETTINGS[profile]), held_out)


@dataclass(frozen=True)
class TrainingText:
    """What a trainer reads; made before a run folder exists, so that too short a text leaves nothing behind.

    answers: by data profile, sft and preferences where the schedule has phases of them.
    """

    loader: BatchLoader | AnswerLoader[DocumentRows]
    held_out: EvaluationWindows
    answers: Mapping[str, AnswerText] = field(default_factory=dict)

    @classmethod
    def of(cls, config: RunConfig, corpus: Corpus, answers: Mapping[str, AnswerData] | None = None) -> TrainingText:
        """Cut the corpus and the answers; ConfigError where the text does not fill one window."""
        train = config.train
        sequences = train.micro_batch * train.grad_accum
        loader: BatchLoader | AnswerLoader[DocumentRows]
        if config.data.reset_at_boundaries:
            loader = AnswerLoader(DocumentRows(corpus, train.ctx_len), sequences, config.seeds.data, "data")
        else:
            loader = BatchLoader(corpus.train.tokens, train.ctx_len, sequences, config.seeds.data)
        texts = {
            profile: AnswerText.of(profile, data, train.ctx_len, sequences, config.seeds.data)
            for profile, data in (answers or {}).items()
        }
        return cls(loader, evaluation_windows(corpus, train.ctx_len), texts)


def answers_of(config: RunConfig, corpus: Corpus) -> dict[str, AnswerData]:
    """The dialogues and pairs that the schedule's phases read, by data profile."""
    profiles = [profile for profile in SETTINGS if config.phase.with_profile(profile)]
    return {profile: prepare_answers(profile, config.data, corpus.tokenizer) for profile in profiles}
