"""A run that ends inside a cycle of the learning rate is told so."""

from __future__ import annotations

import pytest
from compositions import run_config

from camoe.config.optimizer import OptimizerConfig
from camoe.config.restart_cycles import unfinished_cycle
from camoe.config.without_effect import without_effect

PUBLISHED = OptimizerConfig(decay="cosine_restarts")


@pytest.mark.parametrize("total", [5000, 15_000, 35_000])
def test_whole_cycles_are_quiet(total: int) -> None:
    assert unfinished_cycle(PUBLISHED, total) is None


@pytest.mark.parametrize(
    ("total", "words"),
    [
        (4999, ("4,999 steps", "inside cycle 1", "0.01 of the base rate", "; go on to step 5,000")),
        (5001, ("inside cycle 2", "0.70 of the base rate", "end at step 5,000 or go on to step 15,000")),
        (20_000, ("inside cycle 3", "0.42 of the base rate", "end at step 15,000 or go on to step 35,000")),
    ],
)
def test_a_cut_cycle_is_one_line(total: int, words: tuple[str, ...]) -> None:
    line = unfinished_cycle(PUBLISHED, total)
    assert line is not None
    assert line.startswith("optimizer.cycle_steps: ")
    assert "\n" not in line
    assert not [word for word in words if word not in line]


def test_other_decays_have_no_cycles() -> None:
    assert unfinished_cycle(OptimizerConfig(decay="cosine"), 4999) is None


@pytest.mark.usefixtures("hydra")
def test_it_is_said_where_a_run_is_composed() -> None:
    steps = run_config().phase.total_steps
    cut, whole = (
        run_config("optimizer.decay=cosine_restarts", f"optimizer.cycle_steps={n}") for n in (steps + 1, steps)
    )
    assert len(without_effect(cut, [])) == 1
    assert without_effect(whole, []) == []
