"""How a step is shared: all of it, once, in parts of equal size, whole micro-batches where that is possible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.config.capacity import CapacityConfig
from camoe.config.phase import PhaseConfig, PhaseScheduleConfig
from camoe.training.batch_share import BatchShare


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 24))
def test_ranks_share_every_sequence_once_and_equally(micro_batch: int, grad_accum: int, ranks: int) -> None:
    if micro_batch * grad_accum % ranks:
        with pytest.raises(ConfigError, match=f"cannot be shared equally by {ranks} processes"):
            BatchShare(micro_batch, grad_accum, 0, ranks)
        return
    shares = [BatchShare(micro_batch, grad_accum, rank, ranks) for rank in range(ranks)]
    sequences = [number for share in shares for part in share.parts for number in range(part.start, part.stop)]
    assert sorted(sequences) == list(range(micro_batch * grad_accum))
    assert len({tuple(map(len, (s.parts, range(s.parts[0].start, s.parts[0].stop)))) for s in shares}) == 1
    for number in range(len(shares[0].parts)):  # those that run at the same time share whole micro-batches
        by_group: dict[int, set[int]] = {}
        for share in shares:
            part = share.parts[number]
            by_group.setdefault(share.group, set()).update(range(part.start, part.stop))
        for members in by_group.values():
            assert len(members) == micro_batch
            assert min(members) % micro_batch == 0


def test_whole_micro_batches_where_ranks_divide_them() -> None:
    assert BatchShare(2, 6, rank=1, ranks=3).parts == [slice(4, 6), slice(6, 8)]
    assert BatchShare(4, 1, rank=1, ranks=2).parts == [slice(2, 4)]
    assert BatchShare(3, 2).parts == [slice(0, 3), slice(3, 6)]


def test_a_capacity_of_shared_micro_batches_is_refused() -> None:
    whole = CapacityConfig(mode="drop", scope="batch")
    with pytest.raises(
        ConfigError, match=r"router\.capacity\.scope: batch counts a whole micro-batch, but 2 processes"
    ):
        BatchShare(4, 1, 0, 2).check(whole)
    BatchShare(4, 2, 0, 2).check(whole)
    BatchShare(4, 1, 0, 2).check(CapacityConfig(mode="drop", scope="sequence"))
    BatchShare(4, 1, 0, 2).check(CapacityConfig(scope="batch"))


def test_a_share_that_tears_pairs_of_answers_apart_is_refused() -> None:
    pairs = PhaseScheduleConfig(
        schedule={"rlhf": PhaseConfig(steps=1, objective="preference", data_profile="preferences")}
    )
    with pytest.raises(ConfigError, match=r"micro_batch: 6 gives each process 3 rows .* must be a multiple of 4"):
        BatchShare(6, 1, 0, 2).check_pairs(pairs)
    with pytest.raises(ConfigError, match=r"micro_batch: 3 gives each process 3 rows .* must be a multiple of 2"):
        BatchShare(3, 1).check_pairs(pairs)
    BatchShare(6, 2, 0, 2).check_pairs(pairs)
    BatchShare(3, 1).check_pairs(PhaseScheduleConfig(schedule={"normal": PhaseConfig(steps=1)}))
