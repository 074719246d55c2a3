"""A soak that loses a record says so."""

import pytest

from benchmarks.soak_records import differing


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [([20, 40, 60], []), ([20, 60], [40]), ([20, 40, 40], [40]), ([20, 30, 40], [30]), ([40], [20]), ([], [])],
)
def test_every_step_that_is_due_once(steps: list[int], wrong: list[int]) -> None:
    assert differing(steps, 20) == wrong
