"""The folder of one run: everything needed to understand it, to go on with it, and to compare it.

outputs/<date>/<time>-<name>-<signature>/
    config.yaml       the resolved configuration
    overrides.yaml    what the command line changed
    provenance.json   command, code, packages, machine, hashes of data and initial weights
    uncommitted.diff  only when the checkout differed from its commit
    metrics.jsonl     one record per line, always complete
    ledger.jsonl      what the market booked, one log window per line
    train.log         what was printed
    status.json       running, finished, failed or killed, and why
    mlflow.json       which MLflow run this is and how far it has been sent
    checkpoints/      states to go on from
    diagnostics/      the step that diagnostics=nan stopped at, for job=replay_batch
    samples/          generated text
    probe/            who served a fixed set of held-out tokens at every evaluation, and their losses
    documents.parquet the last evaluation, document by document
    evaluation.json   what job=evaluate found last, and evaluation_positions.npz, its loss by position
    report.html       everything above on one page, when the run has finished or failed
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from camoe.config import ConfigError
from camoe.data.flushed import flush_to_disk
from camoe.tracking import run_lock
from camoe.tracking.atomic_file import read_json, remove_unfinished, write_json
from camoe.tracking.metrics_log import last_record_with
from camoe.tracking.run_status import RunStatus, State

REQUIRED = ("config.yaml", "provenance.json")


@dataclass(frozen=True)
class RunFolder:
    """Paths and small files of one run; made by `create` or `open`, never by hand."""

    path: Path

    @classmethod
    def create(
        cls,
        output_dir: str | Path,
        name: str,
        signature: str,
        *,
        config: Mapping[str, Any],
        overrides: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> RunFolder:
        """A new folder, locked by this process, with status running. `config` is the resolved configuration.

        ConfigError where the disk does not take it; then there is none.
        """
        try:
            folder = cls(_new_path(Path(output_dir), name, signature, now or datetime.now()))
        except OSError as error:
            raise _not_made(output_dir, error) from error
        try:
            folder.lock()
            folder._fill(signature, config, overrides, provenance or {})
        except (ConfigError, OSError) as error:
            folder.unlock()
            shutil.rmtree(folder.path, ignore_errors=True)
            raise _not_made(output_dir, error) from error
        return folder

    def _fill(
        self, signature: str, config: Mapping[str, Any], overrides: Sequence[str], provenance: Mapping[str, Any]
    ) -> None:
        self.checkpoints.mkdir()
        self.samples.mkdir()
        self.config_file.write_text(OmegaConf.to_yaml(OmegaConf.create(dict(config))), encoding="utf-8")
        (self.path / "overrides.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
        facts = {"signature": signature, **provenance}
        if diff := facts.pop("git_diff", None):
            (self.path / "uncommitted.diff").write_text(diff, encoding="utf-8")
        self.flush()
        flush_to_disk(self.path.parent)
        write_json(self.provenance_file, facts)  # what makes it a run folder
        self.set_status("running")
        flush_to_disk(self.path)

    @classmethod
    def open(cls, path: str | Path, setting: str = "") -> RunFolder:
        """An existing folder, not locked; ConfigError says what makes it none, and which `setting` named it."""
        path = Path(path)
        where = f"{setting}: {path}" if setting else str(path)
        if not path.is_dir():
            raise ConfigError(f"{where}: no such run folder")
        missing = [name for name in REQUIRED if not (path / name).is_file()]
        if missing:
            raise ConfigError(f"{where}: not a run folder, it has no {' and no '.join(missing)}")
        return cls(path.resolve())

    @property
    def checkpoints(self) -> Path:
        """States to go on from."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Generated text."""
        return self.path / "samples"

    @property
    def documents_file(self) -> Path:
        """The last evaluation's tokens, bytes and nats of every held-out document."""
        return self.path / "documents.parquet"

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """The records of `MetricsLog`."""
        return self.path / "metrics.jsonl"

    @property
    def ledger_file(self) -> Path:
        """The records of `LedgerWindow`; empty where nothing is booked."""
        return self.path / "ledger.jsonl"

    @property
    def log_file(self) -> Path:
        """What was printed."""
        return self.path / "train.log"

    @property
    def mlflow_file(self) -> Path:
        """Which MLflow run this is and how far it has been sent."""
        return self.path / "mlflow.json"

    @property
    def provenance_file(self) -> Path:
        """Where the run came from."""
        return self.path / "provenance.json"

    @property
    def _lock_file(self) -> Path:
        return self.path / "lock"

    def lock(self) -> None:
        """Keep other processes out until this one ends; ConfigError names the one that is in.

        What an earlier one that was killed had begun to write goes away.
        """
        run_lock.hold(self._lock_file)
        remove_unfinished(self.path)

    def unlock(self) -> None:
        """Let other processes in."""
        run_lock.release(self._lock_file)

    def flush(self) -> None:
        """Returns when everything in the folder is on the disk, so that it survives a power cut."""
        for path in self.path.rglob("*"):
            if path != self._lock_file:  # POSIX: closing it would give the lock back
                with suppress(FileNotFoundError):  # renamed meanwhile by whoever writes it, who flushes it
                    flush_to_disk(path)
        flush_to_disk(self.path)

    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain containers; ConfigError when the file holds none."""
        try:
            content = OmegaConf.to_container(OmegaConf.load(self.config_file))
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise _unreadable(self.config_file, "YAML", error) from error
        if not isinstance(content, dict):
            raise ConfigError(f"{self.config_file}: holds a {type(content).__name__}; must be groups of settings")
        return {str(key): value for key, value in content.items()}

    def provenance(self) -> dict[str, Any]:
        """Where the run came from; ConfigError when the file is broken."""
        return _read_object(self.provenance_file)

    def fact(self, name: str) -> Any:
        """One entry of the provenance; ConfigError when it is not there."""
        facts = self.provenance()
        if name not in facts:
            raise ConfigError(
                f"{self.provenance_file}: has no '{name}', which every run records; is the file cut short?"
            )
        return facts[name]

    def set_status(self, state: State, reason: str = "", mlflow_missing: int = 0) -> None:
        """Record how the run stands."""
        self.write_status(RunStatus(state, reason, mlflow_missing))

    def write_status(self, status: RunStatus) -> None:
        """Record how the run stands, or stood under another process."""
        write_json(self.path / "status.json", asdict(status))

    def status(self) -> RunStatus:
        """How the run stands; one that says running while nobody holds it was killed."""
        file = self.path / "status.json"
        if not file.exists():
            return RunStatus("killed", "its process ended before the run began")
        try:
            status = RunStatus.from_json(_read_object(file))
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{file}: not the status of a run ({error})") from error
        here = status.process.is_here
        gone = not run_lock.is_held(self._lock_file) if here else status.process.is_dead
        if status.state == "running" and gone:
            return RunStatus("killed", f"{status.process} vanished", status.mlflow_missing, status.process)
        return status

    def last_sign_of_life(self) -> float | None:
        """When the last record was written, in seconds since 1970; None when there is none."""
        if not self.metrics_file.exists():
            return None
        return last_record_with(self.metrics_file, "time/unix").get("time/unix")


def _not_made(output_dir: str | Path, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f"output_dir: {output_dir} takes no run folder ({reason})")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, "JSON", error) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a {type(content).__name__}; must be a JSON object")
    return content


def _unreadable(path: Path, language: str, error: Exception) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    reason = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else " ".join(str(error).split())
    return ConfigError(f"{path}: not readable as {language} ({reason})")


def _new_path(output_dir: Path, name: str, signature: str, now: datetime) -> Path:
    """Make the folder; a second run of the same second gets a number."""
    short_name = re.sub(r"[^\w.-]+", "_", name)
    day = output_dir.resolve() / now.strftime("%Y-%m-%d")
    day.mkdir(parents=True, exist_ok=True)
    stem = f"{now.strftime('%H-%M-%S')}-{short_name}-{signature}"
    for number in range(1, 1000):
        path = day / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise ConfigError(f"{day / stem}: a thousand runs of the same name in the same second")
