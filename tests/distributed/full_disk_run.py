"""run.py, where the disk that CAMOE_SMALL_DISK names is full once ranks write their parts for the second time."""

from __future__ import annotations

import itertools
import os
import runpy
from pathlib import Path
from typing import Any

from benchmarks.small_disk import SmallDisk
from camoe.training import checkpoint
from tests.distributed.processes import ROOT


def _without_room(*arguments: Any) -> None:
    if os.environ["RANK"] == "0" and next(_calls) == 1:
        SmallDisk(Path(os.environ["CAMOE_SMALL_DISK"])).fill()
    _write_parts(*arguments)


if __name__ == "__main__":
    _calls, _write_parts = itertools.count(), checkpoint.write_parts
    checkpoint.write_parts = _without_room
    runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
