"""Runs many command lines, each in a fork of one process that has imported what they need: starting Python costs more.

Reads a JSON list of [program, arguments, folder] on stdin and writes one JSON result for each to stdout. A program is
`run.py` or `analysis`. `python command_driver.py --heavy` imports torch before it forks; without it, a result says
whether the command line did.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import runpy
import signal
import stat
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "mlflow")
PATIENCE = 60  # seconds


def prepare(heavy: bool) -> None:
    """Imports and registers once what every command line would."""
    import camoe.config.command_line as command_line
    from camoe.config.schema_store import register_with_hydra

    for name in ("post_mortem", "arm_composition", "command_help"):
        importlib.import_module(f"camoe.config.{name}")
    register_with_hydra()
    command_line.register_with_hydra = lambda: None
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]  # composes once more, only to see hydra.mode
    if heavy:
        for name in ("camoe.jobs.train", "camoe.jobs.generate", "camoe.jobs.sync_tracking", "analysis.__main__"):
            importlib.import_module(name)
        del sys.modules["analysis.__main__"]  # runpy would warn that it is there
    gc.collect()
    gc.disable()  # the children end soon


def run(program: str, argv: list[str], folder: str) -> dict[str, Any]:
    """Exit code, output, heavy modules imported, and what changed on disk, of one command line."""
    before = snapshot(Path(folder))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as heavy:
        child = os.fork()
        if child == 0:
            _become(program, argv, folder, (out.fileno(), err.fileno(), heavy.fileno()))
        _, status = os.waitpid(child, 0)
        said = [_content(file) for file in (out, err, heavy)]
    after = snapshot(Path(folder))
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": said[0],
        "err": said[1],
        "heavy": said[2].split(),
        "changed": sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)),
    }


def snapshot(folder: Path) -> dict[str, list[int]]:
    """Kind of everything below a folder, and size and time of change of all that is no folder itself."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = [] if stat.S_ISDIR(status.st_mode) else [status.st_size, status.st_mtime_ns]
        found[str(path.relative_to(folder))] = [status.st_mode, *content]
    return found


def _content(file: Any) -> str:
    file.seek(0)
    return io.TextIOWrapper(file, encoding="utf-8", errors="replace").read()


def _become(program: str, argv: list[str], folder: str, files: tuple[int, int, int]) -> None:
    """The child: runs the program as its __main__ and never returns."""
    code: object = 0
    signal.alarm(PATIENCE)  # what is not refused would train
    try:
        os.chdir(folder)
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        sys.stdin = open(os.devnull)  # noqa: SIM115 (for the rest of the process)
        sys.argv = [str(ROOT / "run.py") if program == "run.py" else program, *argv]
        if program == "run.py":
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        code = ending.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(files[2], " ".join(name for name in HEAVY if name in sys.modules).encode())
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    prepare("--heavy" in sys.argv)
    json.dump([run(*row) for row in json.load(sys.stdin)], sys.stdout)
