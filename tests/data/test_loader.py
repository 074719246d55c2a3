import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.data.loader import BatchLoader

sizes = st.tuples(st.integers(2, 12), st.integers(0, 120)).map(lambda pair: (pair[0], pair[0] + 1 + pair[1]))


def tokens(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint16)


@given(size=sizes, seed=st.integers(0, 2**31), epoch=st.integers(0, 3))
def test_epoch_covers_its_targets_once(size: tuple[int, int], seed: int, epoch: int) -> None:
    ctx_len, count = size
    loader = BatchLoader(tokens(count), ctx_len, 1, seed)
    steps = range(epoch * loader.windows_per_epoch, (epoch + 1) * loader.windows_per_epoch)
    windows = np.concatenate([loader.window(step) for step in steps])
    assert windows.shape == (loader.windows_per_epoch, ctx_len + 1)
    assert (np.diff(windows, axis=1) == 1).all()
    targets = np.sort(windows[:, 1:].ravel())
    assert (np.diff(targets) == 1).all()
    assert count - 1 - len(targets) < 2 * ctx_len


@given(size=sizes, seed=st.integers(0, 99), asked=st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_window_is_a_pure_function_of_seed_and_step(size: tuple[int, int], seed: int, asked: list[int]) -> None:
    ctx_len, count = size
    used = BatchLoader(tokens(count), ctx_len, 3, seed)
    for step in asked:
        fresh = BatchLoader(tokens(count), ctx_len, 3, seed)
        assert np.array_equal(used.window(step), fresh.window(step))


@given(size=sizes, per_step=st.integers(1, 7))
def test_order_does_not_depend_on_the_size_of_a_step(size: tuple[int, int], per_step: int) -> None:
    ctx_len, count = size
    single = BatchLoader(tokens(count), ctx_len, 1, seed=5)
    several = BatchLoader(tokens(count), ctx_len, per_step, seed=5)
    expected = np.concatenate([single.window(step) for step in range(4 * per_step)])
    assert np.array_equal(np.concatenate([several.window(step) for step in range(4)]), expected)
    assert single.stream_hash(4 * per_step) == several.stream_hash(4)


def test_window_type_and_shape() -> None:
    window = BatchLoader(tokens(1000), 16, 4, seed=0).window(3)
    assert window.shape == (4, 17)
    assert window.dtype == np.int64


def test_order_is_drawn_afresh_and_by_seed() -> None:
    loader = BatchLoader(tokens(1000), 10, 50, seed=0)
    assert not np.array_equal(loader.window(0), BatchLoader(tokens(1000), 10, 50, seed=1).window(0))
    whole = BatchLoader(tokens(1000), 10, loader.windows_per_epoch, seed=0)
    starts = [whole.window(epoch)[:, 0] for epoch in range(8)]
    assert len({tuple(epoch_starts) for epoch_starts in starts}) == 8
    assert len({epoch_starts.min() % 10 for epoch_starts in starts}) > 1
    assert not np.array_equal(starts[0], np.sort(starts[0]))


def test_stream_hash_is_resumed_from_its_state() -> None:
    straight = BatchLoader(tokens(500), 10, 4, seed=0)
    first = BatchLoader(tokens(500), 10, 4, seed=0)
    first.stream_hash(30)
    resumed = BatchLoader(tokens(500), 10, 4, seed=0)
    resumed.load_state_dict(first.state_dict())
    assert resumed.stream_hash(70) == straight.stream_hash(70)
    assert straight.stream_hash(30) == first.stream_hash(30)
    assert straight.stream_hash(31) != straight.stream_hash(30)


def test_stream_hash_tells_streams_apart() -> None:
    changed = tokens(500)
    changed[100] = 7
    hashes = {
        BatchLoader(stream, ctx_len, 4, seed).stream_hash(60)
        for stream, ctx_len, seed in (
            (tokens(500), 10, 0),
            (tokens(500), 10, 1),
            (changed, 10, 0),
            (tokens(500), 11, 0),
        )
    }
    assert len(hashes) == 4


def test_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="64 needs 65 training tokens, the text has 64"):
        BatchLoader(tokens(64), 64, 1, seed=0)
    assert BatchLoader(tokens(65), 64, 2, seed=0).window(9).shape == (2, 65)
