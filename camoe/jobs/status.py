"""Show how the runs of a sweep stand, from the files they leave: nothing heavy is imported, no run is disturbed."""

from __future__ import annotations

from camoe.config import RunConfig
from camoe.config.command_record import CommandRecord
from camoe.sweeping.arm_status import sweep_status
from camoe.sweeping.arm_table import print_table, sweep_console
from camoe.sweeping.plan import SweepPlan, sweep_folder


def run(config: RunConfig, command: CommandRecord) -> None:  # noqa: ARG001 (every job takes both)
    """Print the table of the sweep that `sweep=` names."""
    assert config.sweep is not None
    folder = sweep_folder(config.output_dir, config.sweep)
    plan = SweepPlan.load(folder)
    print_table(sweep_console(), plan.sweep, str(plan.analysis.get("primary_metric", "-")), sweep_status(folder, plan))
