"""The things run.py can do, one file each."""

from __future__ import annotations

import os
from importlib import import_module

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.optional_library import require_optimizer_library
from camoe.jobs.run_to_make import run_to_make
from camoe.training.launch import Launch


def run_job(config: RunConfig, command: CommandRecord) -> None:
    """Run the job that the configuration names; each lives in the module of its name and is imported only then.

    A library that the run lacks is missed before that, and a run that is finished already is skipped, for imports
    take seconds. Of several processes the first one looks for earlier runs, once they are connected.
    """
    several = Launch.of(os.environ) is not None
    if several and config.job.name != "train":
        raise ConfigError(f"job.name: {config.job.name} is a job of one process, only train shares its work")
    if config.job.name == "train" and config.resume is None:
        require_optimizer_library(config.optimizer)
        go_on = config if several else run_to_make(config, command)
        if go_on is None:
            return
        config = go_on
    import_module(f"camoe.jobs.{config.job.name}").run(config, command)
