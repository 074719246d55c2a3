"""Look into a run's checkpoint, compare it with another, or make a new run folder from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, RenderableType

from camoe.config import ConfigError, RunConfig
from camoe.config.checkpoint_job import MAKE_A_FOLDER, NEED_ANOTHER
from camoe.config.command_record import CommandRecord
from camoe.config.job import JobConfig
from camoe.config.refusal import refused_as
from camoe.jobs.checkpoint_tables import comparison_tables, inspection_tables
from camoe.jobs.derived_run import derive_run, place_of_derived
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.jobs.opened_checkpoint import OpenedCheckpoint
from camoe.model.language_model import LanguageModel
from camoe.tracking.atomic_file import write_json
from camoe.tracking.shown_path import shown_path
from camoe.training import checkpoint_edit
from camoe.training.checkpoint import Snapshot
from camoe.training.checkpoint_difference import room_differences, setting_differences, tensor_differences
from camoe.training.checkpoint_report import checkpoint_report, names_by_room


def run(config: RunConfig, command: CommandRecord) -> None:
    """Do what job.checkpoint.action says; nothing that exists is changed."""
    job = config.job
    assert job.run is not None
    refuse_foreign(command.overrides, ("job",), f"job.run: {job.run} is read with")
    action = job.checkpoint.action
    place = place_of_derived(job.output, action) if action in MAKE_A_FOLDER else None
    others = (OpenedCheckpoint.named(path, "job.checkpoint.others") for path in job.checkpoint.others)
    opened = [OpenedCheckpoint.named(job.run), *others]
    if action in NEED_ANOTHER and len(opened) == 1:
        raise ConfigError(f"job.checkpoint.others: empty, but {action} needs another checkpoint; give one as [FOLDER]")
    if place is not None:
        _derive(job, opened, place)
    elif action == "compare":
        _compare(job, opened)
    else:
        _inspect(job, opened[0])


def _inspect(job: JobConfig, opened: OpenedCheckpoint) -> None:
    with refused_as(f"{opened}: not a checkpoint of this version"):
        report = checkpoint_report(opened.snapshot, opened.weights(job.weights), opened.architecture())
    report["checkpoint"] = str(opened)
    _show(opened, inspection_tables(report), opened.run.path / "checkpoint.json", report)


def _compare(job: JobConfig, opened: list[OpenedCheckpoint]) -> None:
    first, second = opened[:2]
    ours, others = (one.weights(job.weights) for one in (first, second))
    found = {
        "checkpoints": [str(first), str(second)],
        "settings": setting_differences(first.run.config(), second.run.config()),
        "rooms": room_differences(ours, others, names_by_room(first.architecture())),
        "tensors": tensor_differences(ours, others),
    }
    _show(first, comparison_tables(found), first.run.path / "comparison.json", found)


def _derive(job: JobConfig, opened: list[OpenedCheckpoint], place: Path) -> None:
    """The new run folder of slim, reset or average."""
    first, action = opened[0], job.checkpoint.action
    snapshot, trains, how = _edited(job, opened)
    derive_run(
        first.run,
        place,
        first.checkpoint.step,
        snapshot,
        how,
        origins=[str(one.checkpoint.folder) for one in opened],
        trains=trains,
    )
    next_step = (
        f"python run.py resume={shown_path(place)}"
        if trains
        else (f"python run.py job=evaluate job.run={shown_path(place)}")
    )
    size = sum(file.stat().st_size for file in (place / "checkpoints").rglob("*") if file.is_file())
    print(
        f"{action}: {shown_path(place)}, {size:,} bytes of checkpoint after step {first.checkpoint.step}; {next_step}"
    )


def _edited(job: JobConfig, opened: list[OpenedCheckpoint]) -> tuple[Snapshot, bool, str]:
    """What to write, whether training can go on from it, and how it was made."""
    first, action = opened[0], job.checkpoint.action
    if action == "reset":
        what = job.checkpoint.reset
        return checkpoint_edit.reset(first.snapshot, LanguageModel(first.config), what), True, f"reset {what}"
    weights = [one.weights(job.weights) for one in opened]
    if action == "slim":
        return checkpoint_edit.slim(first.snapshot, weights[0]), False, f"slim {job.weights}"
    parameters = [name for name, _ in first.architecture().named_parameters()]
    mean = checkpoint_edit.average(weights, parameters, [str(one) for one in opened])
    return checkpoint_edit.slim(first.snapshot, mean), False, f"average {job.weights} of {len(opened)}"


def _show(opened: OpenedCheckpoint, tables: Iterable[RenderableType], file: Path, content: object) -> None:
    """On the terminal, and as JSON in the run folder."""
    console = Console()
    console.print(f"{opened}", markup=False, highlight=False, soft_wrap=True)
    for table in tables:
        console.print(table)
    write_json(file, content)
    console.print(f"also in {shown_path(file)}", markup=False, highlight=False, soft_wrap=True)
