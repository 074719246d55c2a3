"""Send to MLflow what it lacks of run folders: after it was away, after a kill, or into another store."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord, setting_name
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.sweeping.plan import SweepPlan, sweep_folder
from camoe.tracking.mlflow_store import how_to_look, prepare_environment, tracking_uri
from camoe.tracking.run_folder import REQUIRED, RunFolder
from camoe.tracking.run_index import RunIndex
from camoe.tracking.shown_path import shown_path
from camoe.tracking.store_completion import Completion, LeftAlone, StoreAway, StoreCompletion, first_line

OWN_SETTINGS = ("job", "output_dir", "sweep", "tracking.uri", "tracking.experiment")
INCOMPLETE = 1  # exit code when something could not be sent


def run(config: RunConfig, command: CommandRecord) -> None:
    """Complete the store of job.run, else of the runs of sweep, else of every run in output_dir.

    Runs that are still running are left alone. Refuses settings that the runs have themselves. Exits with 1 when
    something could not be sent.
    """
    refuse_foreign(command.overrides, OWN_SETTINGS, "job: sync_tracking sends each run with")
    uri = tracking_uri(config.tracking) if config.tracking.uri else None
    experiment = config.tracking.experiment if "tracking.experiment" in map(setting_name, command.overrides) else None
    folders = _folders(config)
    prepare_environment()
    report = Report(Console(soft_wrap=True), StoreCompletion(uri, experiment))
    try:
        report.complete(folders)
        report.end_dead_runs()
    finally:
        report.close(len(folders))
    if report.runs["not sent"]:
        sys.exit(INCOMPLETE)


def _folders(config: RunConfig) -> list[RunFolder]:
    """Oldest first; ConfigError when there is none. What a kill left half made is no run folder."""
    if config.job.run:
        return [RunFolder.open(config.job.run, "job.run")]
    index = RunIndex(config.output_dir)
    if config.sweep:
        plan = SweepPlan.load(sweep_folder(config.output_dir, config.sweep))
        paths = sorted({path for arm in plan.arms for path in index.signed(arm.signature)})
        where = f"sweep: no run of {config.sweep} has begun"
    else:
        paths, where = index.everything(), "output_dir: no run folders"
    folders = [RunFolder(path) for path in paths if all((path / name).is_file() for name in REQUIRED)]
    if not folders:
        raise ConfigError(f"{where} in {config.output_dir}; runs are in output_dir/<date>/<run>")
    return folders


@dataclass
class Report:
    """Completes run folders one by one and says of each what became of it."""

    console: Console
    stores: StoreCompletion
    runs: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    looks: set[str] = field(default_factory=set)

    def complete(self, folders: list[RunFolder]) -> None:
        """Under a progress bar over runs, and one over the records of the present run."""
        columns = TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn()
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            runs = progress.add_task("runs", total=len(folders))
            records = progress.add_task("bytes of metrics.jsonl")
            for folder in folders:
                self._complete(folder, _bar_over_bytes(progress, records, folder))
                progress.advance(runs)

    def end_dead_runs(self) -> None:
        """Those whose folder is elsewhere or gone."""
        try:
            ended = self.stores.end_dead_runs()
        except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise
            self._say(f"other runs not looked at: {first_line(error)}")
        else:
            if ended:
                self._say(f"{ended} other runs said RUNNING although their process is gone; now they do not")

    def close(self, n_run: int) -> None:
        """The closing line, also after an interruption, and how to see the runs."""
        runs = ", ".join(f"{count} {what}" for what, count in sorted(self.runs.items())) or "no run looked at"
        sent = ", ".join(f"{what} {count}" for what, count in self.sent.items() if count) or "nothing"
        left = n_run - self.runs.total()
        self._say(f"{runs}; sent: {sent}" + (f"; {left} to go: repeat the command" if left else ""))
        for look in sorted(self.looks):
            self._say(look)

    def _complete(self, folder: RunFolder, progress: Callable[[int], None]) -> None:
        try:
            done = self.stores.complete(folder, progress, _parent(folder))
        except LeftAlone as reason:
            self._count(folder, "left alone", str(reason))
        except (ConfigError, StoreAway) as problem:
            self._count(folder, "not sent", str(problem))
        except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise
            self.stores.forget_connections()
            self._count(folder, "not sent", first_line(error))
        else:
            self.looks.add(how_to_look(done.uri))
            self.sent.update({"new runs": int(done.is_new), "parents": int(done.is_adopted)})
            self.sent.update(records=done.records, files=done.files, statuses=int(done.status is not None))
            self._count(folder, *(("complete already", "") if done.is_nothing else ("completed", _what(done))))

    def _count(self, folder: RunFolder, what: str, detail: str) -> None:
        self.runs[what] += 1
        if detail:
            self._say(f"{shown_path(folder.path)}: {what}: {detail}")

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False)


def _parent(folder: RunFolder) -> str | None:
    """The MLflow run of the sweep that the run belongs to."""
    sweep = folder.provenance().get("sweep")
    try:
        return SweepPlan.load(sweep_folder(folder.path.parents[1], sweep)).parent_run_id if sweep else None
    except ConfigError:  # a run that was moved away from its sweep
        return None


def _what(done: Completion) -> str:
    parts = [
        "new in MLflow" if done.is_new else "",
        "child of its sweep's run" if done.is_adopted else "",
        f"{done.records} records" if done.records else "",
        f"{done.files} files" if done.files else "",
        f"status {done.status}" if done.status else "",
    ]
    return ", ".join(part for part in parts if part)


def _bar_over_bytes(progress: Progress, task: TaskID, folder: RunFolder) -> Callable[[int], None]:
    size = folder.metrics_file.stat().st_size if folder.metrics_file.exists() else 0
    progress.reset(task, total=size)
    return lambda done: progress.update(task, completed=done)
