"""The run that soaks: one folder, one process after the other, each watched for memory and file descriptors."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from camoe.tracking.checkout import CODE

PATIENCE = 300.0  # seconds for a process to log its first record, or to end
LOG_EVERY, EVAL_EVERY, CHECKPOINT_EVERY = 20, 200, 100
SETTINGS = (
    *("model.n_embd=32", "model.n_layer=2", "model.head_size=16", "tokenizer=byte", "train.ctx_len=32"),
    *("train.micro_batch=2", "train.grad_accum=2", "train.eval_sequences=4", f"train.eval_every={EVAL_EVERY}"),
    *(f"train.checkpoint_every={CHECKPOINT_EVERY}", f"tracking.log_every={LOG_EVERY}", "tracking.report=false"),
    *("kernel.threads=1", "data=local", "data.max_valid_bytes=4000", "phase=flat"),
    "phase.schedule.train.steps=100000000",
)


@dataclass(frozen=True)
class Sample:
    """rss: resident bytes. descriptors: open files."""

    rss: int
    descriptors: int


@dataclass
class Life:
    """What one process used, a sample per second of training."""

    samples: list[Sample] = field(default_factory=list)

    def growth(self) -> Sample | None:
        """From a third of its time, when all caches are warm, to its end; None for a short life."""
        if len(self.samples) < 15:
            return None
        warm, last = self.samples[len(self.samples) // 3], self.samples[-1]
        return Sample(last.rss - warm.rss, last.descriptors - warm.descriptors)


class SoakedRun:
    """Starts, watches and resumes it; `cwd` holds its output, `uri` is that of its MLflow store."""

    def __init__(self, cwd: Path, outputs: Path, uri: str) -> None:
        self.cwd, self.outputs, self.uri = cwd, outputs, uri
        self.lives: list[Life] = []

    @property
    def folder(self) -> Path:
        """The run folder."""
        (config,) = self.outputs.glob("2*/*/config.yaml")
        return config.parent

    def begin(self) -> None:
        """The first process; its text is this project's source."""
        text = self.cwd / "text.txt"
        text.write_text("\n".join(file.read_text() for file in sorted((CODE / "camoe").rglob("*.py"))))
        store = ("tracking=mlflow", f"tracking.uri={self.uri}", f"output_dir={self.outputs}")
        self._start(*SETTINGS, *store, f"data.path={text}")

    def resume(self) -> None:
        """The next process."""
        self._start(f"resume={self.folder}")

    def send(self, *numbers: int) -> None:
        """Signals to the process."""
        for number in numbers:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def output(self) -> str:
        """What the processes have printed."""
        return (self.cwd / "output.txt").read_text()

    def _start(self, *overrides: str) -> None:
        with (self.cwd / "output.txt").open("a") as file:
            command = [sys.executable, str(CODE / "run.py"), *overrides]
            self.process = subprocess.Popen(command, cwd=self.cwd, stdout=file, stderr=file)
        life = Life()
        self.lives.append(life)
        before = self._size()
        deadline = time.monotonic() + PATIENCE
        while self._size() == before:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"no record from a new process: {self.output()[-500:]}")
            before = min(before, self._size())  # what lies behind its checkpoint is written again
            time.sleep(0.1)
        threading.Thread(target=self._watch, args=(self.process.pid, life), daemon=True).start()

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.outputs.glob("2*/*/metrics.jsonl"))

    def _watch(self, pid: int, life: Life) -> None:
        with suppress(psutil.NoSuchProcess):  # it has ended, and so does the watch
            process = psutil.Process(pid)
            while process.status() != psutil.STATUS_ZOMBIE:
                life.samples.append(Sample(process.memory_info().rss, process.num_fds()))
                time.sleep(1)
