"""A run with averaging from the command line, and reading its average."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from camoe.config import ConfigError
from camoe.jobs.trained_run import newest_model
from camoe.training.checkpoint import CheckpointStore, Snapshot
from tests.jobs.command import SMALL, records, run, run_folder, text_file


@pytest.mark.slow
def test_both_weights_are_scored_and_kept(tmp_path: Path) -> None:
    result = run(tmp_path, *SMALL, f"data.path={text_file(tmp_path)}", "averaging=ema", "averaging.decay=0.9")
    assert result.returncode == 0, result.stderr
    folder, last = run_folder(tmp_path), records(run_folder(tmp_path))[-1]
    assert (
        "averaging: ema (averaging.kind: weights of 5 steps count, from step 14 on)"
        in (folder / "train.log").read_text()
    )
    assert last["final_averaged/bpb"] != last["final/bpb"]
    assert "final_averaged/bpb_error" in last
    assert f"averaged weights  {last['final_averaged/bpb']:.4f}" in (folder / "summary.txt").read_text()
    store = CheckpointStore(folder / "checkpoints")
    raw, averaged = newest_model(store).state, newest_model(store, "averaged").state
    assert raw.keys() == averaged.keys()
    assert not torch.equal(raw["emb.weight"], averaged["emb.weight"])
    assert torch.equal(raw["market.state.capital"], averaged["market.state.capital"])


def test_a_run_without_an_average_has_none_to_read(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    store.save(3, Snapshot({"model": {"weight": torch.ones(2)}, "averaged": {}}, {"model": {}, "config": []}))
    with pytest.raises(ConfigError, match=r"job\.weights: .* has no averaged weights after step 3"):
        newest_model(store, "averaged")
