"""Prepare all that the data group names, as a run would at its first use, and say what it is."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.phase import DATA_PROFILES
from camoe.data.answer_data import prepare_answers
from camoe.data.corpus import Corpus
from camoe.data.preparation import prepare
from camoe.data.prepared_table import prepared_table, shares
from camoe.tracking.atomic_file import write_json
from camoe.tracking.shown_path import shown_path

STATISTICS = "statistics.json"


def run(config: RunConfig, command: CommandRecord) -> None:  # noqa: ARG001 (every job takes both)
    """Print the statistics of every data profile, and write them beside the packed text."""
    if config.resume is not None:
        raise ConfigError("resume: job prepare_data goes on with what was interrupted by itself; leave out resume")
    corpus = prepare(config.data, config.tokenizer, every_byte=True)
    prepared: dict[str, Any] = {"pretrain": {**corpus.statistics, "fingerprint": corpus.fingerprint}}
    for profile in DATA_PROFILES[1:]:
        if config.data.has(profile):
            prepared[profile] = prepare_answers(profile, config.data, corpus.tokenizer).statistics
    write_json(corpus.folder / STATISTICS, prepared)
    _show(corpus, prepared)


def _show(corpus: Corpus, prepared: dict[str, Any]) -> None:
    console = Console()
    console.print(prepared_table(prepared))
    mixed = shares(corpus.train.statistics)
    if mixed:
        print(f"training text by domain: {mixed}")
    for profile, statistics in prepared.items():
        print(f"{profile} hash {statistics['fingerprint']}")
    print(f"tokenizer {corpus.tokenizer.name}; statistics in {shown_path((corpus.folder / STATISTICS).resolve())}")
