"""Bytes are counted once per storage, by room, until nobody holds them."""

import torch

from camoe.model.rooms import room
from camoe.profiling.storage_tracker import StorageTracker

MEGABYTE = 2**18  # float32 numbers


def test_storage_counts_once_and_until_it_is_dropped() -> None:
    known = torch.zeros(MEGABYTE)
    with StorageTracker([known]) as tracker:
        with room("router"):
            x = torch.ones(MEGABYTE)
            view = x.view(2, -1)[1]
        with room("critic"):
            y = x * 2
        known.add_(1)
        assert tracker.now == 2 * 2**20
        assert tracker.by_room == {"router": 2**20, "critic": 2**20}
        del y
        assert tracker.by_room["critic"] == 0
        del x
        assert tracker.now == 2**20  # the view still holds it
        del view
        assert tracker.now == 0
        assert tracker.window_peak() == 2 * 2**20
        assert tracker.window_peak() == 0


def test_the_largest_buffers_are_remembered_after_their_death() -> None:
    with StorageTracker() as tracker, room("market"):
        for size in range(1, 20):
            torch.ones(size, 2)
    largest = max(tracker.largest, key=lambda buffer: buffer.n_bytes)
    assert (largest.room, largest.shape, largest.n_bytes) == ("market", (19, 2), 152)
    assert len(tracker.largest) == 8
