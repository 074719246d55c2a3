"""A run that nothing interrupts."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.compositions import KEEP_ALL
from tests.faults.jobs import JobServer
from tests.jobs.command import run_folder


@dataclass(frozen=True)
class Reference:
    """settings: of its command line. calls: by place, how many lines of Python each of its calls runs. seconds: its
    duration."""

    folder: Path
    settings: tuple[str, ...]
    calls: dict[str, list[int]]
    seconds: float

    @classmethod
    def made(cls, jobs: JobServer, cwd: Path, settings: tuple[str, ...]) -> Reference:
        """Keeps all checkpoints, so that any of an interrupted run can be compared."""
        begin, count = time.monotonic(), cwd / "census.json"
        done = jobs.run(cwd, *settings, KEEP_ALL, fault=("census", {"file": str(count)}))
        assert done.code == 0, done.output
        seconds, folder = time.monotonic() - begin, run_folder(cwd)
        made = cls(folder, settings, json.loads(count.read_text()), seconds)
        made.calls["resume"] = made._lines_to_resume(jobs, cwd / "again")
        return made

    def interrupted(self, cwd: Path) -> Path:
        """A copy below `cwd` as it was while the run still went on."""
        folder = cwd / self.folder.relative_to(self.folder.parents[2])
        shutil.copytree(self.folder, folder)
        (folder / "status.json").unlink()
        return folder

    def _lines_to_resume(self, jobs: JobServer, cwd: Path) -> list[int]:
        folder, count = self.interrupted(cwd), cwd / "census.json"
        shutil.rmtree(max((folder / "checkpoints").iterdir()))
        done = jobs.run(cwd, f"resume={folder}", fault=("census", {"file": str(count)}))
        assert done.code == 0, done.output
        return json.loads(count.read_text())["resume"]
