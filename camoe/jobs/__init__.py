"""The things run.py can do, one file each."""

from __future__ import annotations

from importlib import import_module

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.optional_library import require_optimizer_library


def run_job(config: RunConfig, command: CommandRecord) -> None:
    """Run the job that the configuration names; each lives in the module of its name and is imported only then.

    A library that the run lacks is missed before that, for imports take seconds.
    """
    if config.job.name == "train" and config.resume is None:
        require_optimizer_library(config.optimizer)
    import_module(f"camoe.jobs.{config.job.name}").run(config, command)
