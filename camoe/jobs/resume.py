"""Going on with an interrupted run: its folder, its configuration, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.kernel import KernelConfig
from camoe.config.saved import saved_run
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.tracking.run_folder import RunFolder


def resumed_run(config: RunConfig, command: CommandRecord) -> tuple[RunFolder, RunConfig]:
    """The run folder that `resume=` names, locked, and its configuration.

    Refuses settings beside `resume=`: the run would silently not be the one that was started.
    """
    assert config.resume is not None
    refuse_foreign(
        command.overrides,
        ("resume",),
        f"resume: {config.resume} goes on with",
        ", or start a new run without resume",
    )
    folder = RunFolder.open(config.resume)
    saved = saved_run(folder.config(), str(folder.config_file))
    folder.lock()
    return folder, replace(saved, resume=config.resume)


def kernel_as_begun(config: KernelConfig, folder: RunFolder) -> KernelConfig:
    """The kernel settings with the precision of products that the run began with: another would change its numbers."""
    return replace(config, matmul_precision=folder.fact("matmul_precision"))
