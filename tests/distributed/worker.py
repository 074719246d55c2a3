"""One of several ranks: trains every case in the shapes given, and leaves what came of it.

python -m tests.distributed.worker FOLDER MICRO_BATCHxGRAD_ACCUM ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from camoe.training.distributed import connected
from tests.distributed.cases import cases_of, outcome, trainer_of


def main(folder: Path, shapes: list[str]) -> None:
    """Train and save."""
    with connected("cpu") as ranks:
        for case in cases_of(ranks.count):
            for shape in shapes:
                micro_batch, grad_accum = map(int, shape.split("x"))
                found = outcome(trainer_of(case, ranks, folder, micro_batch, grad_accum))
                tensors = {name: value.contiguous().clone() for name, value in found.items()}
                save_file(tensors, folder / f"{case}.{shape}.rank{ranks.index}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
