"""Files of weights and states with some bytes changed: what they hold, or one line; never code, never a traceback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from camoe.config import ConfigError
from camoe.config.export import ExportFormat
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.inference.continuation import TextState
from camoe.inference.export.exported_model import Origin, pack_model, read_export
from camoe.inference.saved_text import load_text, save_text
from camoe.jobs.trained_run import newest_model
from camoe.model.language_model import LanguageModel
from camoe.model.rwkv_weights import read_rwkv_weights
from camoe.training.checkpoint import CheckpointStore, Snapshot
from tests.fuzz.damage import Damage, damaged, damages, refuse_more_lines
from tests.pickles import pickled
from tests.small_run import small_run

pytestmark = pytest.mark.slow
ANY = settings(deadline=None)
SNAPSHOT = Snapshot({"model": {"a": torch.arange(6.0)}, "averaged": {}}, {"model": {}, "config": {"seed": 1}})


@cache
def model() -> LanguageModel:
    """One for all."""
    return LanguageModel(small_run(model={"n_embd": 16, "n_layer": 1, "head_size": 16}))


@cache
def contents(kind: str) -> bytes:
    """A whole file."""
    if kind == "export":
        origin = Origin(1, "raw", "", ByteTokenizer())
        return pack_model(model(), origin, ExportFormat(), 1).container.content
    if kind == "state":
        with TemporaryDirectory() as folder:
            save_text(Path(folder) / "state", TextState([0, 1]), model())
            return (Path(folder) / "state").read_bytes()
    if kind == "pth":
        with TemporaryDirectory() as folder:
            torch.save({"a": torch.arange(3.0)}, Path(folder) / "a.pth")
            return (Path(folder) / "a.pth").read_bytes()
    return save({"a": torch.arange(3.0)})


READERS: dict[str, Callable[[Path], object]] = {
    "export": lambda path: read_export(path).model(),
    "state": lambda path: load_text(path, model(), "job.load_state"),
    "pth": read_rwkv_weights,
    "safetensors": read_rwkv_weights,
}


def refused_or_read(reader: Callable[[Path], object], path: Path) -> None:
    """Anything else fails the test."""
    try:
        reader(path)
    except ConfigError as refusal:
        refuse_more_lines(refusal)


@pytest.mark.parametrize("kind", READERS)
@ANY
@given(damage=damages())
@example(damage=([(0.0, 134)], 1.0, b""))
@example(damage=([(0.0, 133)], 1.0, b""))
def test_damaged_file(kind: str, damage: Damage) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"file.{kind}"
        path.write_bytes(damaged(contents(kind), damage))
        refused_or_read(READERS[kind], path)


@pytest.mark.parametrize("kind", READERS)
def test_a_pickle_is_not_executed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"file.{kind}"
    path.write_bytes(pickled(tmp_path / "executed"))
    with pytest.raises(ConfigError):
        READERS[kind](path)
    assert not (tmp_path / "executed").exists()


@ANY
@given(
    damage=damages(), file=st.sampled_from(["model.safetensors", "values.json", "complete.json"]), signed=st.booleans()
)
@example(damage=([], 0.0, b"[]"), file="values.json", signed=True)
@example(damage=([], 0.0, b'{"sha256": [1]}'), file="complete.json", signed=False)
def test_damaged_checkpoint(damage: Damage, file: str, signed: bool) -> None:
    with TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder))
        store.save(3, SNAPSHOT)
        place = Path(folder) / "step_00000003"
        (place / file).write_bytes(damaged((place / file).read_bytes(), damage))
        if signed and file != "complete.json":
            digests = {
                f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in place.iterdir() if f.suffix != ".tmp"
            }
            digests.pop("complete.json")
            (place / "complete.json").write_text(json.dumps({"step": 3, "sha256": digests}))
        refused_or_read(lambda _: newest_model(store), place)
