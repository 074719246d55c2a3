"""The things run.py can do, one file each."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.optional_library import require_optimizer_library
from camoe.sweeping.earlier_run import earlier_run
from camoe.sweeping.text_fingerprint import prepared_text


def run_job(config: RunConfig, command: CommandRecord) -> None:
    """Run the job that the configuration names; each lives in the module of its name and is imported only then.

    A library that the run lacks is missed before that, and a run that is finished already is skipped, for imports
    take seconds.
    """
    if config.job.name == "train" and config.resume is None:
        require_optimizer_library(config.optimizer)
        go_on = _after_earlier_run(config, command)
        if go_on is None:
            return
        config = go_on
    import_module(f"camoe.jobs.{config.job.name}").run(config, command)


def _after_earlier_run(config: RunConfig, command: CommandRecord) -> RunConfig | None:
    """The run to make: this one, or one like it that was interrupted; None when it is finished already."""
    earlier = earlier_run(config, command.issued, prepared_text)
    if earlier is None:
        return config
    verdict = earlier.verdict(config.retry)
    if verdict == "refuse":
        raise ConfigError(earlier.line())
    print(earlier.line(), flush=True)
    return replace(config, resume=str(earlier.folder.path)) if verdict == "go on" else None
