"""Reading a run: what is refused, and a model that is read while its trainer goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from camoe.config import ConfigError
from camoe.jobs.foreign_settings import refuse_foreign
from camoe.jobs.trained_run import ATTEMPTS, OWN_SETTINGS, newest_model
from camoe.training.checkpoint import Checkpoint, CheckpointStore, Snapshot
from tests.jobs.command import run


def save(store: CheckpointStore, step: int) -> None:
    values = {"model": {"extra": step}, "config": [["seed", step]]}
    store.save(step, Snapshot({"model": {"weight": torch.full((2,), float(step))}}, values))


class PrunedAfterTheLook(CheckpointStore):
    """A trainer replaces the checkpoint just after each of the first `times` looks."""

    times = 1

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        found = super().latest()
        if self.times and found[0] is not None:
            object.__setattr__(self, "times", self.times - 1)
            save(CheckpointStore(self.root, keep=1), found[0].step + 1)
        return found


@pytest.mark.parametrize("times", [0, 1, ATTEMPTS - 1])
def test_a_checkpoint_pruned_under_the_reader_gives_way_to_the_next(tmp_path: Path, times: int) -> None:
    store = PrunedAfterTheLook(tmp_path / "checkpoints")
    save(store, 5)
    object.__setattr__(store, "times", times)
    saved = newest_model(store)
    assert (saved.step, saved.settings) == (5 + times, [["seed", 5 + times]])
    assert saved.state["weight"].tolist() == [5.0 + times] * 2
    assert saved.state["extra"] == 5 + times


def test_no_checkpoint_and_a_damaged_one_are_told_apart(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    with pytest.raises(ConfigError, match="has no checkpoint yet"):
        newest_model(store)
    save(store, 1)
    (store.root / "step_00000001" / "values.json").write_text("{")
    with pytest.raises(ConfigError, match="has only damaged checkpoints"):
        newest_model(store)


def test_own_settings_pass_and_all_others_are_named() -> None:
    own = ["job=generate", "job.run=R", "+job.prompt=x", "kernel=chunked", "kernel.threads=1", "seed=3"]
    refuse_foreign(own, OWN_SETTINGS["generate"], "R has")
    with pytest.raises(ConfigError, match=r"^R has its own configuration; leave out model=pilot, seeds.init=1$"):
        refuse_foreign([*own, "model=pilot", "seeds.init=1"], OWN_SETTINGS["generate"], "R has")


def assert_refused(result: Any, *words: str) -> None:
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("job", ["evaluate", "generate"])
def test_settings_of_the_run_are_refused(finished: Path, tmp_path: Path, job: str) -> None:
    result = run(tmp_path, f"job={job}", f"job.run={finished}", "model=pilot", "phase=flat")
    assert_refused(result, "leave out model=pilot, phase=flat")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_broken_or_foreign_folder_is_refused_in_one_line(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    good = (copy / "config.yaml").read_text()
    for content, word in (
        ("a: [1", "not readable as YAML"),
        ("- 1", "holds a list"),
        ("economy: v21", "economy: 'v21'"),
        (good.replace("n_embd: 32", "n_embd: 64"), "not the configuration that the run's checkpoint was made with"),
    ):
        (copy / "config.yaml").write_text(content)
        assert_refused(run(tmp_path, "job=evaluate", f"job.run={copy}"), f"{copy}/config.yaml: ", word)


def test_a_run_started_with_relative_paths_is_read_from_elsewhere(finished: Path, tmp_path: Path) -> None:
    result = run(tmp_path, "job=generate", f"job.run={finished}", "job.sample_tokens=3", "kernel.threads=1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("def ")
    assert list(tmp_path.iterdir()) == []  # its cache was found where it lay
