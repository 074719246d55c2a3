"""The things run.py can do, one file each."""

from __future__ import annotations

from importlib import import_module

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord


def run_job(config: RunConfig, command: CommandRecord) -> None:
    """Run the job that the configuration names; each lives in the module of its name and is imported only then."""
    import_module(f"camoe.jobs.{config.job.name}").run(config, command)
