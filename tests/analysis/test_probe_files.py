"""The probe's files as one history."""

from pathlib import Path

import numpy as np
import pytest

from analysis.probe_files import read_probe
from analysis.routing_dynamics import router_saturation
from camoe.config import ConfigError
from camoe.tracking.array_file import save_arrays


def test_readings_come_in_the_order_of_steps_with_their_text(tmp_path: Path) -> None:
    text = {"input": np.arange(4), "target": np.arange(1, 5), "document": np.zeros(4), "occurrences": np.ones(4)}
    save_arrays(tmp_path / "probe" / "tokens.npz", text)
    for step in (100, 50):
        winners = np.full((2, 4, 1), step // 50, dtype=np.int8)
        save_arrays(tmp_path / "probe" / f"step_{step:08d}.npz", {"winners": winners, "nats": np.ones(4) * step})
    probe = read_probe(tmp_path)
    assert probe.steps.tolist() == [50, 100]
    assert probe.winners.shape == (2, 2, 4, 1)
    assert probe.nats[:, 0].tolist() == [50, 100]
    assert probe.text["target"].tolist() == [1, 2, 3, 4]
    assert router_saturation(probe.winners).tolist() == [[0, 0], [1, 1]]


def test_a_run_without_a_probe_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"probe: no readings; tracking\.probe_tokens is 0"):
        read_probe(tmp_path)
