"""A step shared by several ranks is the step of one process: losses, market, statistics, weights and optimiser.

Whether every rank holds all weights or a part, and whoever saved the checkpoint that a run goes on from.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from camoe.kernels.ranks import ALONE
from camoe.training.checkpoint import MARKER
from tests.distributed.cases import HALF, RESUMED, STEPS, Variant, outcome, trainer_of, variants
from tests.distributed.processes import finished, start, torchrun_variables

COUNTS = (2, 4)
BOUND = 5e-6
"""Of the larger of 1 and the largest entry, after four steps: float32 sums in another order, and Adam on them."""
REPORTED = 2e-3
"""The same for what the market reports and nothing goes on from: correlations and slopes of a handful of audits."""
RESUMPTIONS = [(2, "one"), (4, "one"), (4, "two")]
"""Ranks that go on, and whose checkpoint they go on from: of one process, or of two that each wrote a part."""
pytestmark = pytest.mark.slow


class Processes:
    """What runs of one, two and four processes left, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._alone: dict[Variant, dict[str, Tensor]] = {}
        self._started: set[int] = set()

    def alone(self, variant: Variant) -> dict[str, Tensor]:
        """Outcome of one process, which holds all weights."""
        variant = variant._replace(weights="replicate", owners=1)
        if variant not in self._alone:
            self._alone[variant] = outcome(trainer_of(variant, ALONE, self.folder))
        return self._alone[variant]

    def together(self, count: int, name: object, rank: int = 0) -> dict[str, Tensor]:
        """Outcome of one of `count` ranks."""
        return load_file(self.of(count) / f"{name}.rank{rank}.safetensors")

    def of(self, count: int) -> Path:
        """The folder that `count` ranks, or one process, have filled."""
        folder = self.folder / str(count)
        if count not in self._started:
            self._started.add(count)
            folder.mkdir()
            self._save_half(folder) if count == 1 else self._run(count, folder)
        return folder

    def _save_half(self, folder: Path) -> None:
        trainer = trainer_of(RESUMED, ALONE, folder / HALF)
        while trainer.progress.step < STEPS // 2:
            trainer.advance()
        trainer.checkpoints.save(trainer.progress.step, trainer.snapshot())

    def _run(self, count: int, folder: Path) -> None:
        others = {"one": self.of(1) / HALF} | ({"two": self.of(2) / HALF} if count > 2 else {})
        given = [f"{name}={checkpoints}" for name, checkpoints in others.items()]
        arguments = ["-m", "tests.distributed.worker", str(folder), *given]
        for code, errors in finished(start(torchrun_variables(count), arguments), timeout=600):
            assert code == 0, errors


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Processes:
    return Processes(tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("count", "variant"), [(n, v) for n in COUNTS for v in variants(n)], ids=str)
def test_ranks_come_to_what_one_process_comes_to(processes: Processes, count: int, variant: Variant) -> None:
    shared = processes.together(count, variant)
    for rank in range(1, count):
        other = processes.together(count, variant, rank)
        assert [name for name in shared if not torch.equal(shared[name], other[name])] == [], "all hold the same bits"
    commutes = (count, variant.micro_batch, variant.weights, variant.owners) == (2, 2, "replicate", 1)  # a + b = b + a
    _assert_near(processes.alone(variant), shared, exactly=commutes)


@pytest.mark.parametrize("weights", ["replicate", "shard"])
@pytest.mark.parametrize(("count", "saved_by"), RESUMPTIONS)
def test_more_ranks_go_on(processes: Processes, count: int, saved_by: str, weights: str) -> None:
    resumed = processes.together(count, f"{saved_by}.{weights}")
    _assert_near(_second_half(processes.alone(RESUMED)), resumed)


@pytest.mark.parametrize("count", COUNTS)
def test_one_process_goes_on_with_what_several_wrote_in_parts(processes: Processes, count: int) -> None:
    trainer = trainer_of(RESUMED, ALONE, processes.of(count) / HALF)
    checkpoint, damaged = trainer.checkpoints.latest()
    assert checkpoint is not None
    assert (damaged, len(list(checkpoint.folder.glob("parts/*.safetensors")))) == ([], count)
    trainer.restore(checkpoint.snapshot())
    _assert_near(_second_half(processes.alone(RESUMED)), outcome(trainer))


def test_a_checkpoint_with_a_damaged_part_does_not_count(processes: Processes) -> None:
    store = trainer_of(RESUMED, ALONE, processes.of(2) / HALF).checkpoints
    (part, _), marker = sorted(store.root.glob("*/parts/*")), next(store.root.glob(f"*/{MARKER}"))
    whole = part.read_bytes()
    try:
        part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert store.latest() == (None, [f"{marker.parent.name}: parts/{part.name} is damaged"])
    finally:
        part.write_bytes(whole)


def _second_half(whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """An outcome without the losses of the steps that a resumed run does not make."""
    return {name: value for name, value in whole.items() if name not in ("losses.1", "losses.2")}


def _assert_near(alone: dict[str, Tensor], shared: dict[str, Tensor], *, exactly: bool = False) -> None:
    assert shared.keys() == alone.keys()
    assert [name for name, value in alone.items() if not _near(value, shared[name], exactly, name)] == []


def _near(alone: Tensor, shared: Tensor, exactly: bool, name: str) -> bool:
    if exactly:
        return torch.equal(alone, shared)
    if "residual" in name or not alone.numel():
        return True  # what rounding leaves unexplained is rounding itself
    alone, shared = alone.double(), shared.double()
    bound = REPORTED if name.startswith("market_statistics") else BOUND
    return float((alone - shared).abs().max()) <= bound * max(1.0, float(alone.abs().max()))
