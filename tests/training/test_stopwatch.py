"""Steps and seconds, by a clock that the test turns."""

import time

import pytest

from camoe.training.stopwatch import Stopwatch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_a_lap_counts_from_the_one_before(clock: Clock) -> None:
    watch = Stopwatch(step=40)
    clock.now += 8
    assert watch.lap(44) == (4, 8.0)
    clock.now += 3
    assert watch.lap(45) == (1, 3.0)
    assert watch.lap(45) == (0, 0.0)


def test_what_is_left_out_counts_in_no_lap_but_in_the_elapsed_time(clock: Clock) -> None:
    watch = Stopwatch(step=0)
    clock.now += 2
    with watch.left_out():
        clock.now += 50
    clock.now += 2
    with watch.left_out():
        clock.now += 7
    assert watch.lap(4) == (4, 4.0)
    clock.now += 6
    assert watch.lap(6) == (2, 6.0)
    assert watch.elapsed() == 67.0
    assert watch.steps_per_second() == 6 / 10


def test_time_is_left_out_also_when_something_fails(clock: Clock) -> None:
    watch = Stopwatch(step=0)

    def evaluation() -> None:
        clock.now += 5
        raise RuntimeError("evaluation failed")

    with pytest.raises(RuntimeError), watch.left_out():
        evaluation()
    clock.now += 1
    assert watch.lap(1) == (1, 1.0)


def test_the_mean_of_the_process_leaves_out_the_steps_before_it_and_those_since_the_last_lap(clock: Clock) -> None:
    watch = Stopwatch(step=1000)
    assert watch.steps_per_second() == 0
    clock.now += 10
    watch.lap(1005)
    with watch.left_out():
        clock.now += 90
    assert watch.steps_per_second() == 0.5
    clock.now += 10
    watch.lap(1020)
    assert watch.steps_per_second() == 1.0
