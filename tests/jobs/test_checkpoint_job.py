"""job=checkpoint: what it shows is true, what it makes is whole, and nothing that exists is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from camoe.config import ConfigError
from camoe.config.checkpoint_job import CheckpointJob
from camoe.config.command_record import CommandRecord
from camoe.config.job import JobConfig
from camoe.jobs import checkpoint
from camoe.jobs.derived_run import refuse_weights_only
from camoe.jobs.opened_checkpoint import OpenedCheckpoint
from camoe.jobs.trained_run import newest_model
from camoe.model.language_model import LanguageModel
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import CheckpointStore
from camoe.training.checkpoint_edit import belongs
from camoe.training.trainer import Trainer
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """Two checkpoints, after steps 2 and 4; nobody changes its folder."""
    config = small_run("v21", averaging={"kind": "ema"})
    with small_trainer(config, tmp_path_factory.mktemp("run")) as trainer:
        for step in range(1, 5):
            trainer.advance()
            if step % 2 == 0:
                trainer.checkpoints.save(step, trainer.snapshot())
        yield trainer


def folder_of(trainer: Trainer) -> Path:
    return trainer.checkpoints.root.parent


def do(run: Path, action: str, *, output: Path | None = None, **more: Any) -> None:
    weights = more.pop("weights", "raw")
    job = JobConfig(
        name="checkpoint",
        run=str(run),
        weights=weights,
        output=str(output) if output else None,
        checkpoint=CheckpointJob(action=action, **more),
    )
    checkpoint.run(
        replace(small_run(), job=job), CommandRecord(argv=(), overrides=(), choices={}, sweep_dir=None, arm=None)
    )


def newest(folder: Path) -> Any:
    return OpenedCheckpoint.named(str(folder)).snapshot


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_inspection_counts_every_parameter_once(trained: Trainer) -> None:
    do(folder_of(trained), "inspect")
    report = json.loads((folder_of(trained) / "checkpoint.json").read_text())
    count = sum(parameter.numel() for parameter in trained.model.parameters())
    for what in ("groups", "rooms"):
        assert sum(held["numbers"] for held in report[what].values()) == count
    squares = sum(float(parameter.detach().double().square().sum()) for parameter in trained.model.parameters())
    assert sum(held["norm"] ** 2 for held in report["rooms"].values()) == pytest.approx(squares, rel=1e-6)
    shares = torch.tensor(report["market"]["capital_share"])
    torch.testing.assert_close(shares.sum(-1), torch.ones(2))
    assert (report["step"], report["phase"], report["misfits"]) == (4, "normal", [])
    assert report["vocabulary"] == {"tokenizer.vocab_size": 256, "emb": 256, "agrees": True}


def test_an_older_checkpoint_is_named_by_its_folder(trained: Trainer) -> None:
    older = OpenedCheckpoint.named(str(trained.checkpoints.root / "step_00000002"))
    assert older.checkpoint.step == 2
    with pytest.raises(ConfigError, match="step_00000003: no readable marker"):
        OpenedCheckpoint.named(str(trained.checkpoints.root / "step_00000003"))


def test_slim_is_the_model_and_no_more(trained: Trainer, tmp_path: Path) -> None:
    before = content(trained.checkpoints.root)
    do(folder_of(trained), "slim", output=tmp_path / "slim")
    assert content(trained.checkpoints.root) == before
    saved = newest_model(CheckpointStore(tmp_path / "slim" / "checkpoints"))
    model = LanguageModel(trained.config)
    model.load_state_dict(saved.state)
    tokens = torch.arange(12).view(1, -1)
    assert torch.equal(model(tokens)[0], trained.model(tokens)[0])
    assert set(newest(tmp_path / "slim").tensors) == {"model", "averaged"}
    with pytest.raises(ConfigError, match=rf"holds weights and market only .*resume {folder_of(trained)}, which"):
        refuse_weights_only(RunFolder.open(tmp_path / "slim"))


def test_slim_takes_averaged_weights(trained: Trainer, tmp_path: Path) -> None:
    do(folder_of(trained), "slim", output=tmp_path / "slim", weights="averaged")
    assert torch.equal(newest(tmp_path / "slim").tensors["model"]["emb.weight"], trained.average.weights["emb.weight"])


@pytest.mark.parametrize("what", ["market", "critic", "both"])
def test_reset_touches_what_it_names_and_training_goes_on(trained: Trainer, tmp_path: Path, what: str) -> None:
    do(folder_of(trained), "reset", output=tmp_path / "copy", reset=what)
    old, new = newest(folder_of(trained)), newest(tmp_path / "copy")
    fresh = LanguageModel(trained.config).state_dict()
    for name, value in new.tensors["model"].items():
        assert torch.equal(value, fresh[name] if belongs(name, what) else old.tensors["model"][name]), name
    changed = {
        name for name, value in new.tensors["model"].items() if not torch.equal(value, old.tensors["model"][name])
    }
    assert ("market.state.capital" in changed, "market.state.purse" in changed) == (what != "critic", what != "market")
    gone = set(old.tensors["optimizer"]) - set(new.tensors["optimizer"])
    assert all(".critic." in name for name in gone)
    assert bool(gone) == (what != "market")
    with small_trainer(trained.config, tmp_path / "more") as again:
        values = {**new.values, "tracker": again.tracker.state()}
        again.restore(replace(new, values=values))
        again.advance()
        assert again.progress.skipped_steps == 0


@pytest.mark.parametrize("economy", ["v18", "v21", "calibrated"])
def test_market_and_critic_share_nothing_and_leave_nothing(economy: str) -> None:
    names = [name for name in LanguageModel(small_run(economy)).state_dict() if name.startswith("market.state.")]
    assert all(belongs(name, "market") != belongs(name, "critic") for name in names)
    of_critic = {name.rpartition(".")[2] for name in names if belongs(name, "critic")}
    assert {"purse", "debt", "bailout_count"} < of_critic
    assert not {"capital", "alpha"} & of_critic


def test_reset_of_a_run_without_a_market_is_refused(tmp_path: Path) -> None:
    config = small_run("off", router={"kind": "topk"})
    with small_trainer(config, tmp_path / "run") as trainer:
        trainer.checkpoints.save(0, trainer.snapshot())
        with pytest.raises(ConfigError, match=r"job\.checkpoint\.reset: market, but economy\.kind off has none"):
            do(folder_of(trainer), "reset", output=tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_average_means_parameters_and_keeps_the_first_market(trained: Trainer, tmp_path: Path) -> None:
    older = trained.checkpoints.root / "step_00000002"
    do(folder_of(trained), "average", output=tmp_path / "mean", others=[str(older)])
    new, old, mean = newest(folder_of(trained)), newest(older), newest(tmp_path / "mean")
    for name in ("emb.weight", "blocks.1.att.key.weight", "blocks.0.mixture.router.gate.weight_in"):
        wanted = (new.tensors["model"][name].double() + old.tensors["model"][name].double()) / 2
        torch.testing.assert_close(mean.tensors["model"][name], wanted.float())
    assert torch.equal(mean.tensors["model"]["market.state.capital"], new.tensors["model"]["market.state.capital"])


def test_average_refuses_another_architecture(trained: Trainer, tmp_path: Path) -> None:
    with small_trainer(small_run("v21", model={"n_layer": 1}), tmp_path / "other") as other:
        other.checkpoints.save(0, other.snapshot())
        with pytest.raises(ConfigError, match=r"of another architecture than .*; blocks\.1"):
            do(folder_of(trained), "average", output=tmp_path / "mean", others=[str(folder_of(other))])


def test_compare_finds_the_one_tensor_and_the_one_setting(trained: Trainer, tmp_path: Path) -> None:
    trained_again = replace(trained.config, name="other")
    with small_trainer(trained_again, tmp_path / "other") as other:
        snapshot = newest(folder_of(trained))
        weights = {**snapshot.tensors["model"]}
        weights["blocks.1.att.key.weight"] = weights["blocks.1.att.key.weight"].clone()
        weights["blocks.1.att.key.weight"][0, 0] += 0.5
        other.checkpoints.save(4, replace(snapshot, tensors={**snapshot.tensors, "model": weights}))
        do(folder_of(trained), "compare", others=[str(folder_of(other))])
    found = json.loads((folder_of(trained) / "comparison.json").read_text())
    assert found["settings"] == {"name": ["camoe", "other"]}
    name, values = next(iter(found["tensors"].items()))
    assert (name, values["largest"]) == ("blocks.1.att.key.weight", pytest.approx(0.5))
    differing = [name for name, values in found["tensors"].items() if values["largest"]]
    assert differing == [name]
    assert [room for room, values in found["rooms"].items() if values["largest"]] == ["time_mix"]


@pytest.mark.parametrize("action", ["slim", "reset", "average"])
def test_what_exists_is_never_written_to(trained: Trainer, tmp_path: Path, action: str) -> None:
    with pytest.raises(ConfigError, match=rf"job\.output: null with job\.checkpoint\.action {action}"):
        do(folder_of(trained), action)
    with pytest.raises(ConfigError, match="exists already; name a new folder"):
        do(folder_of(trained), action, output=tmp_path)


@pytest.mark.parametrize("action", ["average", "compare"])
def test_another_checkpoint_is_asked_for(trained: Trainer, tmp_path: Path, action: str) -> None:
    with pytest.raises(ConfigError, match=f"empty, but {action} needs another checkpoint"):
        do(folder_of(trained), action, output=tmp_path / "new" if action == "average" else None)
