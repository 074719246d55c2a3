"""run.py, where the second rank fails in its fourth step."""

from __future__ import annotations

import os
from typing import Any

import run
from camoe.training import trainer

FATAL_STEP = 3


def _failing_step(self: trainer.Trainer, *arguments: Any) -> Any:
    if os.environ["RANK"] == "1" and self.progress.step == FATAL_STEP:
        raise ZeroDivisionError("of rank 1 alone")
    return _step(self, *arguments)


if __name__ == "__main__":
    _step = trainer.Trainer._step
    trainer.Trainer._step = _failing_step  # type: ignore[method-assign]
    run.main()
