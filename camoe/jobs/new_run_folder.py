"""The folder of a new run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.signature import signature
from camoe.data.answer_data import AnswerData
from camoe.data.corpus import Corpus
from camoe.jobs.initial_weights import FACT, InitialWeights
from camoe.jobs.placement import Placement
from camoe.model.language_model import LanguageModel
from camoe.model.weights_hash import weights_hash
from camoe.tracking.provenance import collect_provenance
from camoe.tracking.run_folder import RunFolder


def new_run_folder(
    config: RunConfig,
    command: CommandRecord,
    corpus: Corpus,
    answers: Mapping[str, AnswerData],
    model: LanguageModel,
    placement: Placement,
    processes: int = 1,
    initial: InitialWeights | None = None,
) -> RunFolder:
    """Make the folder of a run that `processes` of them are about to begin, with what it was made from.

    `initial`: the weights that its model has been filled with.
    """
    provenance = collect_provenance(
        data=corpus.fingerprint,
        answers={profile: data.fingerprint for profile, data in answers.items()},
        initial_weights_by_group=weights_hash(model),
        sweep=config.sweep,
        arm=config.arm,
        seeds=asdict(config.seeds),
        device=str(placement.device),
        wkv_backend=placement.wkv.name,
        dispatch=placement.dispatch.name,
        matmul_precision=placement.matmul.name,
        threads=placement.threads,
        processes=processes,
        **({FACT: initial.fact()} if initial else {}),
    )
    return RunFolder.create(
        config.output_dir,
        config.name,
        signature(config),
        config=asdict(config),
        overrides=command.overrides,
        provenance=provenance,
    )
