"""Command lines of run.py in forks of one process that has imported torch: real commands, no start-up.

Reads a JSON list of argument lists on stdin and writes a JSON list of [exit code, output], in their order. They run one
after the other in the working directory, with nothing to read; the first that fails ends it.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("camoe.jobs.train", "pandas", "pyarrow.parquet", "hydra.main", "camoe.tracking.summary")
"""What a job takes its seconds to import."""


class Done(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    output: str


def run_all(cwd: Path, commands: list[list[str]], timeout: float = 500) -> list[Done]:
    """Run them in a process that forks; as many results as commands were begun."""
    server = subprocess.run(
        [sys.executable, "-m", "tests.jobs.forked_commands"],
        input=json.dumps(commands),
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert server.returncode == 0, server.stderr
    return [Done(*one) for one in json.loads(server.stdout)]


def _forked(arguments: list[str]) -> Done:
    with tempfile.TemporaryFile() as output:
        if not (child := os.fork()):
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(_code(arguments))
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return Done(os.waitstatus_to_exitcode(status), output.read().decode(errors="replace"))


def _code(arguments: list[str]) -> int:
    sys.argv = [str(ROOT / "run.py"), *arguments]
    code: object = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ending:
        code = ending.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


def main() -> None:
    for name in HEAVY:
        import_module(name)
    results: list[Done] = []
    for arguments in json.load(sys.stdin):
        results.append(_forked(arguments))
        if results[-1].code:
            break
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
