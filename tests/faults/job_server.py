"""Starts jobs by forking one process that has imported torch: real processes, real commands, no start-up.

Reads a JSON object per line: {"arguments": [...], "cwd": ..., "output": ..., "fault": [name, settings] or null}. Writes
0 when it is ready, and for each job the process id of the fork, then, when that has ended, its exit code: one job at a
time.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
from importlib import import_module
from typing import Any

from tests.faults import inside
from tests.jobs.command import ROOT

HEAVY = ("camoe.jobs.train", "torch._dynamo", "pandas", "pyarrow.parquet", "hydra.main", "camoe.tracking.summary")
"""What a job takes its seconds to import."""


def serve() -> None:
    """Until the caller closes our input; in a fork it returns with the job done."""
    for name in HEAVY:
        import_module(name)
    gc.freeze()
    _answer(0)
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
            return
        _answer(pid)
        _, status = os.waitpid(pid, 0)
        _answer(os.waitstatus_to_exitcode(status))


def _answer(number: int) -> None:
    print(number, flush=True)


def _become(order: dict[str, Any]) -> None:
    """The command in this process, in its own directory, with its own output, under one of the faults of `inside`."""
    os.chdir(order["cwd"])
    for path, flags, number in ((os.devnull, os.O_RDONLY, 0), (order["output"], os.O_WRONLY | os.O_CREAT, 1)):
        os.dup2(os.open(path, flags | os.O_APPEND), number)
    os.dup2(1, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [str(ROOT / "run.py"), *order["arguments"]]
    if order["fault"]:
        name, settings = order["fault"]
        getattr(inside, name)(**settings)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    serve()
