"""run.py, where the second rank fails in its fourth step."""

from __future__ import annotations

import os
import runpy
from typing import Any

from camoe.training import trainer
from tests.distributed.processes import ROOT

FATAL_STEP = 3


def _failing_step(self: trainer.Trainer, *arguments: Any) -> Any:
    if os.environ["RANK"] == "1" and self.progress.step == FATAL_STEP:
        raise ZeroDivisionError("of rank 1 alone")
    return _step(self, *arguments)


if __name__ == "__main__":
    _step = trainer.Trainer._step
    trainer.Trainer._step = _failing_step  # type: ignore[method-assign]
    runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
