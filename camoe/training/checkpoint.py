"""Checkpoints that are whole or do not count: files first, marker last, then one rename. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from camoe.data.flushed import flush_to_disk
from camoe.kernels.ranks import ALONE, Ranks
from camoe.tracking.stays_below import stays_below
from camoe.training.checkpoint_parts import PARTS, JoinedTensors, write_parts

MARKER, VALUES = "complete.json", "values.json"
NAME = re.compile(r"step_\d{8,}")


@dataclass(frozen=True)
class Snapshot:
    """All that a run needs to go on: tensors by file and name, and values that JSON can hold.

    divided: tensors by file and name of which this rank holds a part.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    values: Mapping[str, Any]
    divided: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint on disk: `step` optimiser steps are done."""

    folder: Path
    step: int

    def tensors(self, name: str) -> Mapping[str, Tensor]:
        """The tensors saved under `name`, on the CPU; whole, however many ranks saved them."""
        whole, parts = load_file(self.folder / f"{name}.safetensors"), self.folder / PARTS
        return JoinedTensors(parts, name, whole) if parts.is_dir() else whole

    def values(self) -> dict[str, Any]:
        """What was saved as JSON."""
        return json.loads((self.folder / VALUES).read_text())

    def snapshot(self) -> Snapshot:
        """Everything, tensors on the CPU."""
        names = sorted(path.stem for path in self.folder.glob("*.safetensors"))
        return Snapshot({name: self.tensors(name) for name in names}, self.values())


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run; the newest `keep` stay."""

    root: Path
    keep: int = 2

    def save(self, step: int, snapshot: Snapshot, ranks: Ranks = ALONE) -> None:
        """Write `root/step_XXXXXXXX` under another name, its marker last, then rename it.

        What is not divided the first rank writes; ranks that hold parts call together. OSError where that is not
        possible; then nothing of it stays, and the checkpoints before it do.
        """
        final = self.root / f"step_{step:08d}"
        unfinished = self.root / f".{final.name}.{os.getpid()}"
        if ranks.is_first:
            shutil.rmtree(unfinished, ignore_errors=True)
        try:
            self._write(step, snapshot, ranks, unfinished, final)
        except OSError:
            if ranks.is_first:
                shutil.rmtree(unfinished, ignore_errors=True)  # a full disk needs the space
            raise

    def _write(self, step: int, snapshot: Snapshot, ranks: Ranks, unfinished: Path, final: Path) -> None:
        if ranks.is_first:
            unfinished.mkdir(parents=True)
        if snapshot.divided:
            parts = Path(ranks.tell(str(unfinished / PARTS) if ranks.is_first else None))
            write_parts(
                parts, {f"{file}/{name}": v for file, part in snapshot.divided.items() for name, v in part.items()}
            )
        if ranks.is_first:
            self._write_whole(step, snapshot, unfinished, final)

    def _write_whole(self, step: int, snapshot: Snapshot, unfinished: Path, final: Path) -> None:
        for name, content in snapshot.tensors.items():
            _save_tensors(content, unfinished / f"{name}.safetensors")
        (unfinished / VALUES).write_text(json.dumps(snapshot.values))
        files = sorted(path for path in unfinished.rglob("*") if path.is_file())
        digests = {path.relative_to(unfinished).as_posix(): _digest(path) for path in files}
        (unfinished / MARKER).write_text(json.dumps({"step": step, "sha256": digests}))
        for path in unfinished.rglob("*"):
            flush_to_disk(path)
        _remove(final)
        unfinished.rename(final)
        flush_to_disk(self.root)
        self._prune(final)

    def latest(self, misfit: Callable[[Checkpoint], str | None] | None = None) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, and one line for every newer one that is damaged.

        misfit: why a whole one is not to be used either; None when it is.
        """
        passed_over: list[str] = []
        for folder in reversed(_folders(self.root)):
            checkpoint = Checkpoint(folder, int(folder.name.removeprefix("step_")))
            problem = _problem(folder) or (misfit(checkpoint) if misfit is not None else None)
            if problem is None:
                return checkpoint, passed_over
            passed_over.append(f"{folder.name}: {problem}")
        return None, passed_over

    def named(self, name: str) -> tuple[Checkpoint | None, list[str]]:
        """The checkpoint in the folder `name`, step_N, or the line that says why it does not count."""
        problem = _problem(self.root / name) if NAME.fullmatch(name) else "not the name of a checkpoint"
        if problem is not None:
            return None, [f"{name}: {problem}"]
        return Checkpoint(self.root / name, int(name.removeprefix("step_"))), []

    def _prune(self, newest: Path) -> None:
        """Keep `newest` and the whole checkpoints just before it; what lies ahead of it is of a past that failed."""
        for leftover in self.root.glob(".step_*"):
            shutil.rmtree(leftover, ignore_errors=True)
        marked = [folder for folder in _folders(self.root) if folder <= newest and (folder / MARKER).is_file()]
        for folder in set(_folders(self.root)) - set(marked[-self.keep :]):
            _remove(folder)


def _save_tensors(content: Mapping[str, Tensor], path: Path) -> None:
    """safetensors hides the system's error in text of its own."""
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in content.items()}
    try:
        save_file(on_cpu, path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _remove(folder: Path) -> None:
    """Marker first, so that a half-removed checkpoint does not count."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _folders(root: Path) -> list[Path]:
    """In their order; a copy under another name, which a person may keep beside them, is none of ours."""
    return sorted(path for path in root.glob("step_*") if NAME.fullmatch(path.name) and path.is_dir())


def _problem(folder: Path) -> str | None:
    """Why a checkpoint does not count, or None when it does."""
    try:
        digests = dict(json.loads((folder / MARKER).read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return "no readable marker"
    for name in (VALUES, *digests):
        if not stays_below(name):
            return f"its marker names {name}, which lies outside"
        if not (folder / name).is_file():
            return f"{name} is missing"
        try:
            if _digest(folder / name) != digests.get(name):
                return f"{name} is damaged"
        except OSError as error:
            return f"{name} is unreadable ({error.strerror})"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
