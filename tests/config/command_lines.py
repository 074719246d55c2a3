"""Runs many command lines of run.py in one fresh process, because starting Python costs more than composing.

Reads a JSON list of argument lists on stdin and writes one JSON result for each to stdout.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

from hydra._internal.hydra import Hydra

RUN = Path(__file__).resolve().parents[2] / "run.py"
HEAVY = ("torch", "mlflow")


def run_in_process(argv: list[str]) -> dict[str, object]:
    """Exit code, output, heavy modules imported and files made by one command line."""
    sys.argv = [str(RUN), *argv]
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(str(RUN), run_name="__main__")
        except SystemExit as ending:
            code = ending.code
        except Exception:
            traceback.print_exc()
            code = 1
    heavy = [name for name in HEAVY if name in sys.modules]
    return {
        "code": code,
        "out": out.getvalue(),
        "err": err.getvalue(),
        "heavy": heavy,
        "files": sorted(os.listdir()),
    }


if __name__ == "__main__":
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]  # composes once more, only to see hydra.mode
    json.dump([run_in_process(argv) for argv in json.load(sys.stdin)], sys.stdout)
