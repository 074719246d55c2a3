"""Resources of the jobs of hydra/launcher=slurm, each a plain override: hydra.launcher.partition=gpu."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting
from camoe.config.sweep import PLUGINS
from camoe.config.value_check import check_value

WHERE = "hydra.launcher"


@dataclass(kw_only=True)
class SlurmConfig:
    """What one arm gets. None leaves a choice to the cluster's own default."""

    _target_: str = f"{PLUGINS}.SlurmLauncher"
    partition: str | None = setting(None, help="partition, or several with commas")
    account: str | None = setting(None, help="account that is charged")
    qos: str | None = setting(None, help="quality of service")
    constraint: str | None = setting(None, help="features that the nodes must have")
    nodes: int = setting(1, help="nodes of one arm", low=1)
    tasks_per_node: int = setting(1, help="processes (ranks) of one arm on each node", low=1)
    gpus: int = setting(0, help="GPUs of one arm on each node", low=0)
    cpus_per_task: int | None = setting(None, help="CPUs, and torch threads, of each process", low=1)
    mem_gb: float | None = setting(None, help="memory on each node, GB", above=0)
    timeout_min: int = setting(240, help="time limit, minutes; the arm is requeued when it is over", low=1)
    signal_delay_s: int = setting(120, help="seconds before the time limit at which the arm saves and requeues", low=1)
    max_requeues: int = setting(
        100, help="how often one arm may be requeued, be it for its time limit or for a preemption", low=0
    )
    array_parallelism: int = setting(32, help="arms at once", low=1)
    setup: list[str] = field(
        default_factory=list, metadata={"help": "lines of bash before the arm starts, e.g. [module load cuda]"}
    )
    sbatch: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "other options of sbatch, e.g. {exclude: node7}"}
    )
    wait: bool = setting(True, help="false: return once the arms are queued; see job=status")
    poll_s: int = setting(10, help="seconds between two looks at the queue while waiting", low=1)

    def check(self) -> None:
        """ConfigError for the first value that is out of its limits or fits another one badly."""
        for definition in fields(self):
            value = getattr(self, definition.name)
            if value is not None:
                check_value(f"{WHERE}.{definition.name}", definition, value)
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise ConfigError(
                f"{WHERE}.signal_delay_s: {self.signal_delay_s} leaves nothing of {WHERE}.timeout_min "
                f"{self.timeout_min}; must be below {60 * self.timeout_min}"
            )
        taken = {"array", "signal", "output", "error", "open-mode", "job-name", "time", "wrap"}
        for name in self.sbatch:
            if name.replace("_", "-") in taken:
                raise ConfigError(f"{WHERE}.sbatch.{name}: is ours to set; other options of sbatch are free")
