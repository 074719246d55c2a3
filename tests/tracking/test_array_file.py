from pathlib import Path

import numpy as np
import pandas as pd

from camoe.tracking.array_file import save_arrays, save_table

ARRAYS = {"winners": np.arange(24, dtype=np.int8).reshape(2, 4, 3), "nats": np.linspace(0, 1, 4, dtype=np.float32)}


def test_arrays_come_back_as_they_were_and_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "probe" / "step_00000001.npz"
    save_arrays(path, ARRAYS)
    before = path.read_bytes()
    with np.load(path) as stored:
        assert set(stored) == set(ARRAYS)
        for name, value in ARRAYS.items():
            assert stored[name].dtype == value.dtype
            np.testing.assert_array_equal(stored[name], value)
    save_arrays(path, ARRAYS)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_table_comes_back_as_it_was_and_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    columns = {"document": np.arange(3), "nats": np.array([0.5, 1.25, 3.0])}
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for path in paths:
        save_table(path, columns)
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), pd.DataFrame(columns))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths
