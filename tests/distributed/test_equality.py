"""A step shared by several ranks is the step of one process: losses, market, statistics, weights and optimiser."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from camoe.kernels.ranks import ALONE
from tests.distributed.cases import cases_of, outcome, trainer_of
from tests.distributed.processes import finished, start, torchrun_variables

SHAPES = {2: ("2x2", "4x1"), 4: ("2x2",)}
BOUND = 5e-6
"""Of the larger of 1 and the largest entry, after four steps: float32 sums in another order, and Adam on them."""
REPORTED = 2e-3
"""The same for what the market reports and nothing goes on from: correlations and slopes of a handful of audits."""
pytestmark = pytest.mark.slow
each = pytest.mark.parametrize(
    ("trained", "case"),
    [pytest.param(count, case, id=f"{count} ranks-{case}") for count in SHAPES for case in cases_of(count)],
    indirect=["trained"],
)


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Number of ranks, and the folder with what each of them came to."""
    count = request.param
    folder = tmp_path_factory.mktemp(f"ranks{count}")
    arguments = ["-m", "tests.distributed.worker", str(folder), *SHAPES[count]]
    for code, errors in finished(start(torchrun_variables(count), arguments), timeout=300):
        assert code == 0, errors
    return count, folder


def _of_rank(folder: Path, case: str, shape: str, rank: int) -> dict[str, Tensor]:
    return load_file(folder / f"{case}.{shape}.rank{rank}.safetensors")


@each
def test_all_ranks_hold_the_same_bits(trained: tuple[int, Path], case: str) -> None:
    count, folder = trained
    for shape in SHAPES[count]:
        first = _of_rank(folder, case, shape, 0)
        for rank in range(1, count):
            other = _of_rank(folder, case, shape, rank)
            assert [name for name in first if not torch.equal(first[name], other[name])] == []


@each
def test_ranks_come_to_what_one_process_comes_to(trained: tuple[int, Path], case: str, tmp_path: Path) -> None:
    count, folder = trained
    for shape in SHAPES[count]:
        micro_batch, grad_accum = map(int, shape.split("x"))
        alone = outcome(trainer_of(case, ALONE, tmp_path, micro_batch, grad_accum))
        shared = _of_rank(folder, case, shape, 0)
        assert shared.keys() == alone.keys()
        whole = (count, shape) == (2, "2x2")
        far = [name for name, value in alone.items() if not _near(value, shared[name], whole, name)]
        assert far == []


def _near(alone: Tensor, shared: Tensor, whole: bool, name: str) -> bool:
    """To the last bit where two ranks run one micro-batch each, since a + b = b + a; else to rounding."""
    if whole:
        return torch.equal(alone, shared)
    if "residual" in name or not alone.numel():
        return True  # what rounding leaves unexplained is rounding itself
    alone, shared = alone.double(), shared.double()
    bound = REPORTED if name.startswith("market_statistics") else BOUND
    return float((alone - shared).abs().max()) <= bound * max(1.0, float(alone.abs().max()))
