"""Continue a prompt with a run's newest model, or an exported one."""

from __future__ import annotations

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.jobs.outcome import sample
from camoe.jobs.trained_run import open_trained_run


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print job.prompt and its continuation, and keep them in samples/ of the run folder, or beside the file."""
    trained = open_trained_run(config, command)
    router = trained.config.router
    if not router.causal:
        raise ConfigError(
            f"job.name: generate continues text token by token, but router.kind {router.kind} of {config.job.run} "
            "chooses by later tokens; job=evaluate gives its upper bound"
        )
    text = config.job.prompt + sample(trained.model, trained.origin.tokenizer, config.job, config.seed)
    averaged = "_averaged" if trained.origin.weights == "averaged" else ""
    trained.result(f"samples/step_{trained.origin.step:08d}{averaged}.txt").write_text(text, encoding="utf-8")
    print(text)
