"""Where Hydra looks for plugins. The work is done in camoe/sweeping, which is imported when a multirun begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ArmsSweeper(Sweeper):
    """hydra/sweeper=arms."""

    def __init__(self, arms: Mapping[str, Sequence[str]], params: Mapping[str, str]) -> None:
        self.arms, self.params = arms, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self.config, self.loader = config, hydra_context.config_loader
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Plan, check, launch. Raises ConfigError before anything is made, and the first error of the runs."""
        from camoe.sweeping.sweep import plan_sweep

        assert self.config is not None
        sweep = plan_sweep(self.config, self.loader, self.arms, self.params, arguments)
        self.config.sweep = sweep.plan.sweep  # where Hydra's own launchers write
        sweep.plan.save(sweep.folder)
        for run in self.launcher.launch([run.command.overrides for run in sweep.runs], initial_job_idx=0):
            _ = run.return_value
