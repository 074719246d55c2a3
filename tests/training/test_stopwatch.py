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
    watch = Stopwatch()
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
    watch = Stopwatch()

    def evaluation() -> None:
        clock.now += 5
        raise RuntimeError("evaluation failed")

    with pytest.raises(RuntimeError), watch.left_out():
        evaluation()
    clock.now += 1
    assert watch.lap(1) == (1, 1.0)


def test_the_mean_of_the_run_counts_every_process_up_to_the_last_lap(clock: Clock) -> None:
    assert Stopwatch().steps_per_second() == 0
    watch = Stopwatch(step=100, seconds=40.0)
    clock.now += 10
    watch.lap(105)
    with watch.left_out():
        clock.now += 90
    clock.now += 1
    assert watch.steps_per_second() == 105 / 50
    assert (watch.seconds(), watch.seconds_at_lap) == (51.0, 50.0)
    assert watch.elapsed() == 101.0


def test_what_came_before_the_start_was_no_training(clock: Clock) -> None:
    watch = Stopwatch(step=10, seconds=20.0)
    clock.now += 30
    watch.start()
    clock.now += 5
    assert watch.lap(11) == (1, 5.0)
    assert watch.seconds() == 25.0
    assert watch.elapsed() == 35.0


def test_a_resumed_run_goes_on_from_the_seconds_of_its_checkpoint(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 6
    watch.lap(3)
    clock.now += 4
    resumed = Stopwatch(step=5, seconds=watch.seconds())
    clock.now += 2
    assert resumed.lap(6) == (1, 2.0)
    assert resumed.seconds() == 12.0
