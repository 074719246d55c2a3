"""Signals: an exception outside of steps, a flag inside, and a second Ctrl-C that does not wait."""

import signal

import pytest

from camoe.training.interruption import Interrupted, Interruption


def _receive_in_a_step(signals: list[int], reached: list[int]) -> None:
    with Interruption() as interruption, interruption.deferred():
        for number in signals:
            signal.raise_signal(number)
            assert interruption.requested
            reached.append(number)


def test_outside_of_steps_a_signal_raises_at_once() -> None:
    with Interruption(), pytest.raises(Interrupted) as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.signal is signal.SIGTERM


def test_inside_it_waits_for_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    reached = []
    with pytest.raises(Interrupted) as stop:
        _receive_in_a_step([signal.SIGUSR2], reached)
    assert reached == [signal.SIGUSR2]
    assert stop.value.signal is signal.SIGUSR2
    assert "stopping after this step" in capfd.readouterr().err


def test_a_second_ctrl_c_does_not_wait_even_with_another_signal_between() -> None:
    reached: list[int] = []
    with pytest.raises(Interrupted):
        _receive_in_a_step([signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM], reached)
    assert reached == [signal.SIGINT, signal.SIGTERM]


def test_the_handlers_that_were_there_come_back() -> None:
    before = [signal.getsignal(number) for number in Interruption.WATCHED]
    with Interruption():
        assert [signal.getsignal(number) for number in Interruption.WATCHED] != before
    assert [signal.getsignal(number) for number in Interruption.WATCHED] == before


@pytest.mark.parametrize("number", Interruption.WATCHED)
def test_what_ended_the_run_is_passed_on_to_who_listened_before(number: signal.Signals) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda received, _: heard.append(received))
    steps: list[int] = []
    try:
        with pytest.raises(Interrupted):
            _receive_in_a_step([number], steps)
        assert (steps, heard) == ([number], [number])
    finally:
        signal.signal(number, before)


def test_a_signal_to_another_process_stops_this_one_too() -> None:
    def agree(own: int) -> int:
        return max(own, signal.SIGUSR2)

    with pytest.raises(Interrupted) as stop, Interruption() as interruption, interruption.deferred(agree):
        assert interruption.requested
    assert stop.value.signal is signal.SIGUSR2
