"""What ranks learn of one that ended: its reason, its signal, or that it vanished."""

import signal
import threading
from datetime import timedelta

import pytest
import torch.distributed as dist

from camoe.config import ConfigError
from camoe.training import last_words
from camoe.training.interruption import Interrupted
from camoe.training.last_words import LastWords, PeerLost

BROKEN = RuntimeError("Connection closed by peer")


def _two() -> tuple[LastWords, LastWords]:
    store = dist.HashStore()
    return LastWords(store, 0), LastWords(store, 1)


def test_the_first_reason_counts() -> None:
    first, second = _two()
    second.leave(ValueError("too hot"))
    first.leave(RuntimeError("broken by it"))
    for words in (first, second):
        assert isinstance(words.explain(BROKEN), PeerLost)
        assert str(words.explain(BROKEN)) == "rank 1: ValueError: too hot"


def test_a_signal_to_one_is_a_signal_to_all() -> None:
    first, second = _two()
    second.leave(Interrupted(signal.SIGTERM))
    reason = first.explain(BROKEN)
    assert isinstance(reason, Interrupted)
    assert reason.signal is signal.SIGTERM


def test_what_one_refuses_all_refuse() -> None:
    first, second = _two()
    first.leave(ConfigError("data.path: nothing there"))
    with pytest.raises(ConfigError, match=r"^data.path: nothing there$"):
        second.wait_for("never told")


def test_a_value_counts_whose_giver_has_ended_since() -> None:
    class OneLookLate(dist.HashStore):
        """Right after the first look the first process gives its value and ends."""

        def check(self, keys: list[str]) -> bool:
            found = super().check(keys)
            self.set("told", "yes")
            LastWords(self, 0).leave(ValueError("something else"))
            return found

    assert LastWords(OneLookLate(), 1).wait_for("told") == "yes"


def test_one_that_said_nothing_vanished() -> None:
    first, _ = _two()
    assert "vanished (Connection closed by peer)" in str(first.explain(BROKEN))


def test_waiting_ends_with_the_value_or_with_the_other_process() -> None:
    first, second = _two()
    first.store.set("told", "yes")
    assert second.wait_for("told") == "yes"
    first.leave(ValueError("no text"))
    with pytest.raises(PeerLost, match="rank 0: ValueError: no text"):
        second.wait_for("never told")


def test_the_first_leaves_last_but_does_not_wait_for_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[int] = []
    first, second = _two()

    def leave(words: LastWords) -> None:
        words.part(2)
        order.append(words.rank)

    threads = [threading.Thread(target=leave, args=(words,)) for words in (second, first)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(order) == [0, 1]
    monkeypatch.setattr(last_words, "LAST_FAREWELL", timedelta(milliseconds=10))
    lonely, _ = _two()
    leave(lonely)
    assert order[-1] == 0
