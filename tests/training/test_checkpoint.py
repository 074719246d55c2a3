"""Checkpoints count only when whole, and bring everything back."""

import errno
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from camoe.training.checkpoint import MARKER, CheckpointStore, Snapshot
from camoe.training.optimizers import optimizer_tensors, restore_optimizer
from camoe.training.random_state import random_state, restore_random_state


def _save(root: Path, step: int) -> None:
    CheckpointStore(root).save(step, Snapshot({"model": {"w": torch.full((3,), float(step))}}, {"step": step}))


def test_round_trip(tmp_path: Path) -> None:
    _save(tmp_path, 7)
    found, damaged = CheckpointStore(tmp_path).latest()
    assert found is not None
    assert (found.step, damaged) == (7, [])
    assert found.tensors("model")["w"].tolist() == [7.0] * 3
    assert found.values() == {"step": 7}


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    _save(tmp_path, 7)
    CheckpointStore(tmp_path).save(7, Snapshot({"model": {"w": torch.zeros(1)}}, {"step": 7}))
    found, _ = CheckpointStore(tmp_path).latest()
    assert found is not None
    assert found.tensors("model")["w"].tolist() == [0.0]


@pytest.mark.parametrize("harm", ["no marker", "flipped bit", "truncated", "missing file", "torn marker", "odd marker"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, harm: str) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    newest, file = tmp_path / "step_00000002", tmp_path / "step_00000002" / "model.safetensors"
    content = bytearray(file.read_bytes())
    if harm == "no marker":
        (newest / MARKER).unlink()
    elif harm == "flipped bit":
        content[-1] ^= 1
        file.write_bytes(content)
    elif harm == "truncated":
        file.write_bytes(content[:-4])
    elif harm == "missing file":
        file.unlink()
    else:
        (newest / MARKER).write_text('{"step": 2, "sha' if harm == "torn marker" else '{"step": 2, "sha256": {}}')
    found, damaged = CheckpointStore(tmp_path).latest()
    assert found is not None
    assert found.step == 1
    assert len(damaged) == 1
    assert damaged[0].startswith("step_00000002: ")


def test_pruning_keeps_the_newest_and_clears_leftovers(tmp_path: Path) -> None:
    (tmp_path / ".step_00000011.123").mkdir()
    for step in (1, 2, 3, 10):
        _save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000003", "step_00000010"]


def test_nothing_there(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "none").latest() == (None, [])


def test_the_optimizer_goes_on_as_if_never_stopped() -> None:
    def train(net: nn.Linear, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for step in range(steps):
            optimizer.zero_grad()
            net(torch.full((2, 3), step + 1.0)).square().sum().backward()
            optimizer.step()

    def fresh() -> tuple[nn.Linear, torch.optim.Optimizer, dict[nn.Parameter, str]]:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        return net, torch.optim.AdamW(net.parameters(), lr=0.1), {p: n for n, p in net.named_parameters()}

    net, optimizer, names = fresh()
    train(net, optimizer, 3)
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    saved = {key: value.clone() for key, value in optimizer_tensors(optimizer, names).items()}
    train(net, optimizer, 2)

    again, resumed, names = fresh()
    again.load_state_dict(weights)
    restore_optimizer(resumed, names, saved)
    train(again, resumed, 2)
    assert torch.equal(net.weight, again.weight)


def test_every_generator_comes_back(tmp_path: Path) -> None:
    tensors, values = random_state()
    CheckpointStore(tmp_path).save(1, Snapshot({"random": tensors}, values))
    drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
    found, _ = CheckpointStore(tmp_path).latest()
    assert found is not None
    restore_random_state(found.tensors("random"), found.values())
    assert drawn == (random.random(), float(np.random.rand()), float(torch.rand(())))


def test_going_on_behind_damage_keeps_what_is_written_then(tmp_path: Path) -> None:
    for step in (16, 20, 24):
        _save(tmp_path, step)
    for step in (20, 24):
        (tmp_path / f"step_{step:08d}" / MARKER).unlink(missing_ok=True)
    _save(tmp_path, 17)
    found, damaged = CheckpointStore(tmp_path).latest()
    assert found is not None
    assert (found.step, damaged) == (17, [])


def test_two_whole_checkpoints_stay_even_with_a_damaged_one_between(tmp_path: Path) -> None:
    _save(tmp_path, 8)
    _save(tmp_path, 10)
    (tmp_path / "step_00000010" / MARKER).unlink()
    _save(tmp_path, 12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000008", "step_00000012"]


def test_a_disk_without_room_is_the_systems_error_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    _save(tmp_path, 1)
    monkeypatch.setattr("camoe.training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as found:
        _save(tmp_path, 2)
    assert found.value.errno == errno.ENOSPC
    assert str(found.value.filename).endswith("model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_a_copy_under_another_name_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "step_00000009.kept").mkdir()
    for step in (1, 2, 3):
        _save(tmp_path, step)
    found, damaged = CheckpointStore(tmp_path).latest()
    assert found is not None
    assert (found.step, damaged) == (3, [])
    assert (tmp_path / "step_00000009.kept").is_dir()
    assert CheckpointStore(tmp_path).named("step_00000009.kept")[0] is None


def test_a_whole_checkpoint_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    found, said = CheckpointStore(tmp_path).latest(lambda one: "is foreign" if one.step == 2 else None)
    assert found is not None
    assert (found.step, said) == (1, ["step_00000002: is foreign"])


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "parts/../../secret"])
def test_a_marker_that_names_files_elsewhere_does_not_count(tmp_path: Path, name: str) -> None:
    _save(tmp_path, 1)
    (tmp_path / "secret").write_text("not to be read")
    marker = tmp_path / "step_00000001" / MARKER
    content = json.loads(marker.read_text())
    content["sha256"][name] = hashlib.sha256(b"not to be read").hexdigest()
    marker.write_text(json.dumps(content))
    assert CheckpointStore(tmp_path).latest() == (
        None,
        [f"step_00000001: its marker names {name}, which lies outside"],
    )
