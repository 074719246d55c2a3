"""Say what a run needs and how fast it goes on devices that need not be here; nothing is built or left behind."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.plan_job import PlanJob
from camoe.profiling.device_kinds import KINDS, DeviceKind, measured_kind
from camoe.profiling.plan_report import as_json, plan_report
from camoe.profiling.run_plan import RunPlan


def run(config: RunConfig, command: CommandRecord) -> None:  # noqa: ARG001 (every job takes both)
    """Print the plan, and write it to job.output as JSON where that is given."""
    if config.resume is not None:
        raise ConfigError("resume: job plan looks at no run; leave out resume")
    asked = config.job.plan
    plan = RunPlan(config, _kind(asked), asked.devices, asked.per_node)
    console = Console()
    for part in plan_report(plan):
        console.print(part)
    if config.job.output is not None:
        Path(config.job.output).write_text(as_json(plan), encoding="utf-8")


def _kind(asked: PlanJob) -> DeviceKind:
    """ConfigError where figures are missing for what is asked."""
    if asked.device != "cpu":
        return KINDS[asked.device]
    if asked.devices not in (None, 1):
        raise ConfigError(f"job.plan.devices: {asked.devices}, but links of device cpu were never measured; must be 1")
    return measured_kind(Path(asked.measured))
