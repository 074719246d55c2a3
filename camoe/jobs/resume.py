"""Going on with an interrupted run: its folder, its configuration, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from camoe.config import ConfigError, RunConfig
from camoe.config.absolute_paths import with_absolute_paths
from camoe.config.command_record import CommandRecord, setting_name
from camoe.config.diagnostics import SETS
from camoe.config.kernel import KernelConfig
from camoe.config.saved import saved_run
from camoe.jobs.derived_run import refuse_weights_only
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.tracking.run_folder import RunFolder


def resumed_run(config: RunConfig, command: CommandRecord, *, lock: bool = True) -> tuple[RunFolder, RunConfig]:
    """The run folder to go on with, locked where `lock` says so, and its configuration.

    Where the command line names it by `resume=`, the configuration is the folder's, and settings beside `resume=` are
    refused: the run would silently not be the one that was started. Where it was found by its settings, those of the
    command line stand, for they differ in nothing that could change results.
    """
    assert config.resume is not None
    folder = RunFolder.open(config.resume, "resume")
    refuse_weights_only(folder)
    if any(override.lstrip("+").startswith("resume=") for override in command.overrides):
        refuse_foreign(
            command.overrides,
            ("resume", "diagnostics", "parallel"),
            f"resume: {config.resume} goes on with",
            ", or start a new run without resume",
        )
        saved = saved_run(folder.config(), str(folder.config_file))
        asked = any(setting_name(override).startswith("parallel.") for override in command.overrides)
        parallel = config.parallel if asked else saved.parallel
        if SETS[config.diagnostics]:
            raise ConfigError(
                f"diagnostics: {config.diagnostics} beside resume would change the run; start a new one with it, or "
                "resume with diagnostics=nan"
            )
        config = replace(saved, resume=config.resume, diagnostics=config.diagnostics, parallel=parallel)
    if lock:
        folder.lock()
    return folder, with_absolute_paths(config)


def kernel_as_begun(config: KernelConfig, folder: RunFolder) -> KernelConfig:
    """The kernel settings with the precision of products that the run began with: another would change its numbers."""
    return replace(config, matmul_precision=folder.fact("matmul_precision"))
