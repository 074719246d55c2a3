"""What comes out the same, bit for bit, and what only to rounding; docs/reproducibility.md names these tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from camoe.jobs.placement import model_to_train, place
from camoe.model.parameter_groups import parameter_groups, stacked_matrices
from camoe.routing.election_terms import ElectionTerms
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.training.micro_batch import MicroBatch
from camoe.training.objectives import Batch
from camoe.training.optimizers import build_optimizer, set_rates
from camoe.training.phases import PhaseSchedule
from camoe.training.train_step import train_step
from tests.small_run import small_run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reproducibility.md"
STEPS, SEQUENCES, T = 3, 8, 64  # enough numbers that torch gives every thread a share
BACKENDS, THREADS, PRECISIONS = ("native", "chunked", "reference"), (1, 2, 4), ("fp32", "bf16")
CASES = [
    (wkv, precision, threads)
    for wkv in BACKENDS
    for precision in PRECISIONS
    for threads in THREADS
    if threads < 4 or wkv == "native"  # more threads than cores are slow
]
QUICK = [("native", "fp32", 2)]
APART = {"fp32": 1e-5, "bf16": 2e-2}
"""Relative difference of losses after STEPS steps on other numbers of threads or backends; large on purpose."""


class Outcome(NamedTuple):
    """losses: one a step. state: of the model, market included."""

    losses: list[float]
    state: dict[str, Tensor]


@pytest.fixture(autouse=True)
def settings_put_back() -> Iterator[None]:
    """Threads and the precision of products belong to the process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def _trained(wkv: str, precision: str, threads: int, **groups: dict[str, Any]) -> Outcome:
    """A run of STEPS steps on drawn tokens, from its configuration alone."""
    shape = {"n_embd": 64, "n_layer": 2, "head_size": 32, "prefix_len": 4, "low_rank": 4}
    train = {"ctx_len": T, "micro_batch": SEQUENCES, "grad_accum": 1, "precision": precision, **groups.pop("train", {})}
    kernel = {"wkv": wkv, "threads": threads, "device": "cpu", **groups.pop("kernel", {})}
    config = small_run("calibrated", model=shape, train=train, kernel=kernel, **groups)
    model = model_to_train(config, place(config.kernel, config))
    stacked = stacked_matrices(model)
    optimizer = build_optimizer(
        config.optimizer, parameter_groups(model), "cpu", stacked=stacked, precision=config.train.precision
    )
    phase = PhaseSchedule(config.phase).at(0)
    set_rates(optimizer, 5e-3, phase)
    statistics, losses = routing_statistics_of(model), []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(1, 256, (SEQUENCES, T + 1), generator=generator)
        noise = torch.randn(SEQUENCES, config.model.n_layer, T, config.experts.total, generator=generator)
        batches = [MicroBatch(Batch(tokens[:, :-1], tokens[:, 1:]), ElectionTerms(noise))]
        losses.append(
            float(train_step(model, optimizer, batches, phase, statistics, grad_clip=1.0).losses["language_model"])
        )
    state = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    return Outcome(losses, state)


def _same_bits(one: Outcome, other: Outcome) -> bool:
    same = all(torch.equal(value, other.state[name]) for name, value in one.state.items())
    return same and one.losses == other.losses and one.state.keys() == other.state.keys()


@pytest.mark.parametrize(
    ("wkv", "precision", "threads"),
    [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in CASES],
)
def test_the_same_settings_give_the_same_bits(wkv: str, precision: str, threads: int) -> None:
    first = _trained(wkv, precision, threads)
    assert torch.get_num_threads() == threads
    assert _same_bits(first, _trained(wkv, precision, threads))


@pytest.mark.slow
@pytest.mark.parametrize(
    "groups",
    [{"kernel": {"compile": "time_mix"}}, {"optimizer": {"kind": "muon"}}, {"kernel": {"dispatch": "grouped"}}],
    ids=str,
)
def test_other_kernels_and_optimisers_give_the_same_bits_again(groups: dict[str, Any]) -> None:
    assert _same_bits(_trained("native", "fp32", 1, **groups), _trained("native", "fp32", 1, **groups))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_computing_again_changes_no_bit(precision: str) -> None:
    kept = _trained("native", precision, 1)
    for recompute in ("time_mix", "block"):
        assert _same_bits(kept, _trained("native", precision, 1, train={"recompute": recompute}))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("wkv", BACKENDS)
def test_other_numbers_of_threads_give_the_same_to_rounding(wkv: str, precision: str) -> None:
    """No promise of bits: torch adds up long sums in as many parts as it has threads."""
    one = _trained(wkv, precision, 1)
    for threads in THREADS[1 : 3 if wkv == "native" else 2]:
        assert _trained(wkv, precision, threads).losses == pytest.approx(one.losses, rel=APART[precision])


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_backends_give_the_same_to_rounding(precision: str) -> None:
    native = _trained("native", precision, 1)
    for wkv in BACKENDS[1:]:
        assert _trained(wkv, precision, 1).losses == pytest.approx(native.losses, rel=APART[precision])


def test_every_row_of_the_page_names_a_test_that_is_there() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/\S+?\.py)::(\w+)`", row)
        assert named or "not tested" in row, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), (file, test)
