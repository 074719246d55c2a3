"""Continue a prompt with a run's newest model."""

from __future__ import annotations

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.jobs.outcome import sample
from camoe.jobs.trained_run import open_trained_run


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print job.prompt and its continuation, and keep them in the run folder's samples."""
    trained = open_trained_run(config, command)
    text = config.job.prompt + sample(trained.model, trained.corpus.tokenizer, config.job, config.seed)
    trained.folder.samples.mkdir(exist_ok=True)
    averaged = "_averaged" if config.job.weights == "averaged" else ""
    (trained.folder.samples / f"step_{trained.step:08d}{averaged}.txt").write_text(text, encoding="utf-8")
    print(text)
