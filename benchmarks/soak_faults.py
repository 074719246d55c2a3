"""What happens to a run that soaks. Each fault leaves it running, in a new process where the old one ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.mlflow_server import LoopbackServer
from benchmarks.small_disk import SmallDisk
from benchmarks.soaked_run import SoakedRun

PAUSE = 5.0  # seconds
REFUSED = 2


@dataclass
class Scene:
    """The run and what it depends on. disk: None where mounting one is not permitted."""

    run: SoakedRun
    server: LoopbackServer
    disk: SmallDisk | None


def _ended_by(*numbers: int) -> Callable[[Scene], None]:
    def fault(scene: Scene) -> None:
        scene.run.send(*numbers)
        expect(scene, -signal.SIGKILL if numbers[-1] == signal.SIGKILL else 128 + numbers[-1])
        scene.run.resume()

    return fault


def _disk_full(scene: Scene) -> None:
    assert scene.disk is not None
    scene.disk.fill()
    try:
        expect(scene, REFUSED)
    finally:
        scene.disk.free()
    scene.run.resume()


def _store_away(scene: Scene) -> None:
    scene.server.kill()
    time.sleep(PAUSE)
    scene.server.up()


def _paused(scene: Scene) -> None:
    scene.run.send(signal.SIGSTOP)
    time.sleep(PAUSE)
    scene.run.send(signal.SIGCONT)


FAULTS: dict[str, Callable[[Scene], None]] = {
    "kill -9": _ended_by(signal.SIGKILL),
    "SIGTERM": _ended_by(signal.SIGTERM),
    "SIGUSR2": _ended_by(signal.SIGUSR2),
    "Ctrl-C": _ended_by(signal.SIGINT),
    "Ctrl-C twice": _ended_by(signal.SIGINT, signal.SIGINT),
    "disk full": _disk_full,
    "store away": _store_away,
    "paused": _paused,
}


def possible(scene: Scene) -> list[str]:
    """The names of the faults that can be brought about here."""
    return [name for name in FAULTS if name != "disk full" or scene.disk is not None]


def expect(scene: Scene, code: int) -> None:
    """RuntimeError where the process ends with another exit code."""
    found = scene.run.wait()
    if found != code:
        raise RuntimeError(f"exit code {found} instead of {code}: {scene.run.output()[-2000:]}")
