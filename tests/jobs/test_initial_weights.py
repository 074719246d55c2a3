"""A run begins with RWKV-7 weights, once, and its records say which."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from camoe.config import ConfigError, RunConfig
from camoe.jobs.initial_weights import FACT, load_initial_weights
from camoe.jobs.trained_run import newest_model
from camoe.model.language_model import LanguageModel
from camoe.tracking.run_folder import RunFolder
from camoe.training.checkpoint import CheckpointStore, Snapshot
from tests.jobs.command import SMALL, run, run_folder
from tests.small_run import small_run

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rwkv7_weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the RWKV-7 test weights are not beside this checkout")
BEGIN = {
    "emb.weight": torch.full((256, 32), 0.5),
    "blocks.0.ffn.key.weight": torch.full((128, 32), 0.25),
    "blocks.0.att.v0": torch.zeros(1, 1, 32),
}


def begun(
    folder: Path, tensors: dict[str, torch.Tensor] = BEGIN, name: str = "w.safetensors", **train: float
) -> RunConfig:
    """A configuration that begins with these tensors."""
    torch.save(tensors, folder / name) if name.endswith("pth") else save_file(tensors, folder / name)
    return small_run(train={"init_from": str(folder / name), **train})


def made_folder(root: Path, sha256: str | None) -> RunFolder:
    return RunFolder.create(root, "r", "0", config={}, overrides=[], provenance={FACT: {"sha256": sha256}})


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_the_model_has_the_weights_and_the_records_say_so(tmp_path: Path, name: str) -> None:
    config = begun(tmp_path, name=name)
    model = LanguageModel(config)
    initial = load_initial_weights(config, model, None)
    assert initial is not None
    assert bool((model.emb.weight == 0.5).all())
    assert bool((model.blocks[0].mixture.experts[1].key.weight == 0.25).all())
    fact = initial.fact()
    assert set(fact["consumed"]) == {"emb.weight", "blocks.0.ffn.key.weight"}
    assert fact["ignored"] == ["blocks.0.att.v0"]
    assert "ln_out.weight" in fact["left_as_initialised"]
    assert len(fact["sha256"]) == 64
    assert json.loads(json.dumps(fact)) == fact
    assert initial.choice().why.startswith("2 tensors consumed, 1 ignored (blocks.0.att.v0), ")


def test_noise_is_each_experts_own_and_follows_the_seed(tmp_path: Path) -> None:
    config = begun(tmp_path, init_noise=0.1)
    keys = []
    for seed in (0, 0, 1):
        model = LanguageModel(config)
        load_initial_weights(replace(config, seeds=replace(config.seeds, init=seed)), model, None)
        keys.append([model.blocks[0].mixture.experts[i].key.weight for i in (0, 1)])
        assert bool((model.emb.weight == 0.5).all())
    assert torch.equal(keys[0][0], keys[1][0])
    assert not torch.equal(keys[0][0], keys[0][1])
    assert not torch.equal(keys[0][0], keys[2][0])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"emb.weight": torch.zeros(300, 32)},
            r"emb\.weight: the file has \[300, 32\], the model needs \[256, 32\] \(tokenizer.*\)",
        ),
        (
            {"blocks.0.ffn.key.weight": torch.zeros(256, 64), "emb.weight": torch.zeros(256, 64)},
            r"emb\.weight: the file has \[256, 64\], the model needs \[256, 32\]",
        ),
        ({"blocks.5.ffn.key.weight": torch.zeros(256, 64)}, r"model\.n_layer: the file has 6 layers, the model 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sizes(
    tmp_path: Path, tensors: dict[str, torch.Tensor], message: str
) -> None:
    config = begun(tmp_path, tensors)
    with pytest.raises(ConfigError, match=rf"^train\.init_from: {tmp_path}/w\.safetensors: {message}"):
        load_initial_weights(config, LanguageModel(config), None)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    config = begun(tmp_path, {"model": BEGIN}, "w.pth")  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="not one dictionary of tensors by name"):
        load_initial_weights(config, LanguageModel(config), None)
    torch.save({"emb.weight": Path("code that would run")}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"w\.pth: not a readable"):
        load_initial_weights(config, LanguageModel(config), None)
    (tmp_path / "w.pth").unlink()
    with pytest.raises(ConfigError, match=rf"^train\.init_from: {tmp_path}/w\.pth: no such file of RWKV weights$"):
        load_initial_weights(config, LanguageModel(config), None)


def test_a_run_that_stopped_before_its_first_checkpoint_begins_with_them_again(tmp_path: Path) -> None:
    config = begun(tmp_path)
    first = load_initial_weights(config, LanguageModel(config), None)
    assert first is not None
    folder, other = made_folder(tmp_path / "a", first.sha256), made_folder(tmp_path / "b", "another file's")
    assert load_initial_weights(config, LanguageModel(config), folder) == first
    with pytest.raises(ConfigError, match="not the file any more"):
        load_initial_weights(config, LanguageModel(config), other)
    CheckpointStore(folder.checkpoints).save(1, Snapshot(tensors={"model": {}}, values={}))
    Path(config.train.init_from or "").unlink()  # a run with a checkpoint needs the file no more
    assert load_initial_weights(config, LanguageModel(config), folder) is None


@pytest.mark.slow
def test_the_command_line_refuses_before_the_run_folder_is_made(tmp_path: Path, text: Path) -> None:
    save_file({"emb.weight": torch.zeros(300, 32)}, tmp_path / "w.safetensors")
    for file, message in (("w.safetensors", "[300, 32], the model needs [256, 32]"), ("none.pth", "does not exist")):
        result = run(tmp_path, *SMALL, f"data.path={text}", f"train.init_from={file}")
        assert result.returncode == 2
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("train.init_from: ")
        assert message in line
    assert not list(tmp_path.glob("outputs/2*"))


@pytest.mark.slow
@needs_weights
def test_the_published_logits_after_a_run_that_changes_nothing(tmp_path: Path, text: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes((WEIGHTS / "tiny_rwkv7_834k.safetensors").read_bytes())
    kept = [setting for setting in SMALL if not setting.startswith(("model.", "phase."))]
    shape = ["model.n_embd=64", "model.n_layer=12", "model.head_size=64", "model.tie_embeddings=false", "experts=4r0t"]
    one_step = ["phase=flat", "phase.schedule.train.steps=1", "train.base_lr=1e-30"]
    begin = (*kept, *shape, *one_step, f"data.path={text}", "train.init_from=w.safetensors")
    result = run(tmp_path, *begin)
    assert result.returncode == 0, result.stderr
    assert "0 ignored" in result.stdout
    folder = RunFolder.open(run_folder(tmp_path))
    assert folder.config()["train"]["init_from"] == str(tmp_path / "w.safetensors")
    assert folder.fact(FACT)["sha256"] == "968f289f7f2714038fb8d0a20b1b061d4f7a49faba30ce635879ada4b9f67cd6"
    model = LanguageModel(
        small_run(
            model={"n_embd": 64, "n_layer": 12, "head_size": 64, "tie_embeddings": False},
            experts={"rwkv_ffn": 4, "transformer_prefix": 0},
        )
    )
    state = newest_model(CheckpointStore(folder.checkpoints)).state
    parameters = dict(model.named_parameters())
    model.load_state_dict({name: value for name, value in state.items() if name in parameters}, strict=False)
    expected = json.loads((WEIGHTS / "tiny_rwkv7_834k_expected.json").read_text())
    logits = model(torch.tensor([expected["prompt_bytes"]]))[0][0, -1].detach()
    assert float((logits - torch.tensor(expected["logits_after_last_byte"])).abs().max()) < 1e-5
    assert "finished already" in run(tmp_path, *begin).stdout + run(tmp_path, *begin).stderr


@pytest.mark.slow
def test_weights_come_back_by_the_command_line(tmp_path: Path, text: Path) -> None:
    one = ["experts=4r0t", "experts.rwkv_ffn=1", "router.top_k=1", "economy=off", "model.tie_embeddings=false"]
    kept = [setting for setting in SMALL if not setting.startswith("phase.")]
    one_step = ["phase=flat", "phase.schedule.train.steps=1"]
    result = run(tmp_path, *kept, *one, *one_step, f"data.path={text}")
    assert result.returncode == 0, result.stderr
    folder = run_folder(tmp_path)
    result = run(tmp_path, "job=export_rwkv", f"job.run={folder}")
    assert result.returncode == 0, result.stderr
    assert "logits of 512 held-out tokens differ" in result.stdout
    again = [*one_step, f"data.path={text}", f"train.init_from={folder / 'rwkv.safetensors'}", "train.base_lr=1e-30"]
    result = run(tmp_path, *kept, *one, *again, "output_dir=again")
    assert result.returncode == 0, result.stderr
    (second,) = (path.parent for path in tmp_path.glob("again/2*/*/config.yaml"))
    result = run(tmp_path, "job=export_rwkv", f"job.run={second}", "job.output=back.safetensors")
    assert result.returncode == 0, result.stderr
    first, back = load_file(folder / "rwkv.safetensors"), load_file(tmp_path / "back.safetensors")
    torch.testing.assert_close(back, first, rtol=0, atol=1e-25)  # the step moved what was 0 by less
    result = run(tmp_path, "job=export_rwkv", f"job.run={second}", "job.output=back.pth")
    assert result.returncode == 2
    assert result.stderr.strip().startswith("job.output: back.pth is no .safetensors file")
