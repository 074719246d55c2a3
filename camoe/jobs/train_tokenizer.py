"""Train a byte-pair tokenizer on the chosen text and keep it in a file for tokenizer.path."""

from __future__ import annotations

from pathlib import Path

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.data.tokenizer_training import train_tokenizer


def run(config: RunConfig, command: CommandRecord) -> None:  # noqa: ARG001 (every job takes both)
    """Write `job.output` and say what it makes of held-out text, and how a run uses it."""
    if config.resume is not None:
        raise ConfigError("resume: job train_tokenizer reads text, no run; leave out resume")
    assert config.job.output is not None
    path = Path(config.job.output)
    trained = train_tokenizer(config.data, config.tokenizer.vocab_size)
    trained.save(path)
    figures = trained.statistics
    print(
        f"{figures['bytes_per_token']:.3f} bytes per token over {figures['held_out_bytes']:,} bytes of held-out text "
        f"({figures['held_out_documents']:,} documents), from {figures['text']}"
    )
    print(f"use it with: tokenizer=bpe tokenizer.vocab_size={config.tokenizer.vocab_size} tokenizer.path={path}")
