import numpy as np
import pytest

from camoe.data.interleaving import SLACK_ITEMS, interleave

WEIGHTS = {"a": 7.0, "b": 3.0}


def drawn(seed: int, count: int = 1500) -> list[tuple[str, str]]:
    """Items of a are ten times as long as those of b."""
    return list(interleave({"a": iter(["x" * 100] * count), "b": iter(["y" * 10] * count)}, WEIGHTS, len, seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_stretch_from_the_start_holds_the_shares_of_size(seed: int) -> None:
    items = drawn(seed)
    sizes = np.array([len(item) for _, item in items])
    of_a = np.array([name == "a" for name, _ in items])
    total = np.cumsum(sizes)
    assert np.abs(np.cumsum(sizes * of_a) - 0.7 * total).max() < (SLACK_ITEMS + 1) * 100
    assert np.cumsum(sizes * of_a)[-1] / total[-1] == pytest.approx(0.7, abs=0.01)


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    assert drawn(3) == drawn(3)
    assert [name for name, _ in drawn(3)] != [name for name, _ in drawn(4)]


def test_ends_with_the_stream_that_has_run_out() -> None:
    items = list(interleave({"a": iter("x" * 1000), "b": iter("y" * 30)}, WEIGHTS, len, 0))
    assert sum(name == "b" for name, _ in items) == 30
    assert 40 < sum(name == "a" for name, _ in items) < 100


def test_items_of_a_stream_keep_their_order() -> None:
    items = list(interleave({"a": iter(range(1, 50)), "b": iter(range(1, 50))}, WEIGHTS, lambda _: 1, 0))
    assert [item for name, item in items if name == "a"] == list(range(1, 1 + sum(name == "a" for name, _ in items)))
