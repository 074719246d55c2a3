"""Where Hydra looks for plugins. The work is done in camoe/sweeping, which is imported when a multirun begins."""

from __future__ import annotations

import inspect
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from camoe.config import ConfigError
from camoe.config.refusal import out_of_range
from camoe.config.slurm import SlurmConfig

if TYPE_CHECKING:
    from camoe.sweeping.run_sweep import Launch


class ArmLauncher(Launcher):
    """A launcher of ours: gets checked runs from `ArmsSweeper`, not overrides to compose."""

    @abstractmethod
    def launch_arms(self) -> Launch:
        """The function that runs jobs; raises ConfigError for settings of the launcher that cannot work."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; the sweeper knows all that is needed."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        """What other sweepers would call."""
        raise ConfigError("hydra/launcher: this one needs hydra/sweeper=arms; other sweepers take hydra/launcher=basic")


class LocalLauncher(ArmLauncher):
    """hydra/launcher=local."""

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs

    def launch_arms(self) -> Launch:
        """Processes of this machine."""
        if self.n_jobs < 1:
            raise out_of_range("hydra.launcher.n_jobs", self.n_jobs, "at least 1")
        from camoe.sweeping.local_launcher import launch_locally

        return lambda folder, jobs, report: launch_locally(folder, jobs, self.n_jobs, report)


class SlurmLauncher(ArmLauncher):
    """hydra/launcher=slurm."""

    def __init__(self, **settings: Any) -> None:
        plain = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(settings), resolve=True))
        self.settings = SlurmConfig(**plain)

    def launch_arms(self) -> Launch:
        """The cluster that SLURM's commands on this machine belong to."""
        self.settings.check()
        from camoe.sweeping.slurm_array import require_acceptance, require_slurm
        from camoe.sweeping.slurm_launcher import launch_on_slurm

        require_slurm()
        require_acceptance(self.settings)
        return lambda folder, jobs, report: launch_on_slurm(folder, jobs, self.settings, report)


class ArmsSweeper(Sweeper):
    """hydra/sweeper=arms."""

    def __init__(self, arms: Mapping[str, Sequence[str]], params: Mapping[str, str]) -> None:
        self.arms, self.params = arms, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self.config, self.loader, self.task = config, hydra_context.config_loader, task_function
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Plan, check, launch. Raises ConfigError before anything is made."""
        from camoe.sweeping.run_sweep import run_sweep
        from camoe.sweeping.sweep import plan_sweep, refuse_ranks

        assert self.config is not None
        refuse_ranks(os.environ)
        sweep = plan_sweep(self.config, self.loader, self.arms, self.params, arguments)
        if isinstance(self.launcher, ArmLauncher):
            return run_sweep(sweep, self.launcher.launch_arms(), inspect.unwrap(self.task))
        self.config.sweep = sweep.plan.sweep  # where Hydra's own launchers write
        sweep.plan.save(sweep.folder)
        for run in self.launcher.launch([run.command.overrides for run in sweep.runs], initial_job_idx=0):
            _ = run.return_value
        return None
