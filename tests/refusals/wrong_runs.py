"""A small finished run, and copies of it with one thing wrong in each."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.jobs.command import SMALL, run, run_folder, text_file
from tests.pickles import pickled

TINY = " ".join(
    [
        *(override for override in SMALL if not override.startswith("phase.")),
        *("model.n_layer=1", "phase=flat", "phase.schedule.train.steps=2"),
    ]
)
"""A run of seconds; what is wrong stands behind it."""
Damage = Callable[[Path], object]


def make_wrong_runs(folder: Path) -> None:
    """`run`, whole, and a copy for each of DAMAGES; with source.txt, the text it was trained on."""
    text_file(folder)
    done = run(folder, *TINY.split(), "data.path=source.txt", "train.self_check=false")
    assert done.returncode == 0, done.stderr
    run_folder(folder).rename(folder / "run")
    for name, damage in DAMAGES.items():
        shutil.copytree(folder / "run", folder / name)
        damage(folder / name)


def _write(file: str, content: str | bytes) -> Damage:
    return lambda run: (run / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def _edit(file: str, old: str, new: str) -> Damage:
    return lambda run: (run / file).write_text((run / file).read_text().replace(old, new))


def _checkpoint(damage: Damage) -> Damage:
    """Of the newest checkpoint, whose marker says afterwards that it is whole."""

    def damage_and_sign(run: Path) -> None:
        folder = _newest(run)
        damage(folder)
        marker = folder / "complete.json"
        digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f != marker}
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "sha256": digests}))

    return damage_and_sign


def _newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step_*"))


def _model(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file(change(load_file(file)), file)

    return _checkpoint(damage)


def _without_value(name: str) -> Damage:
    def damage(folder: Path) -> None:
        values: dict[str, Any] = json.loads((folder / "values.json").read_text())
        del values[name]
        (folder / "values.json").write_text(json.dumps(values))

    return _checkpoint(damage)


def _pickle_for(file: str) -> Damage:
    return _checkpoint(lambda folder: (folder / file).write_bytes(pickled(folder.parents[2] / "executed")))


DAMAGES: dict[str, Damage] = {
    "no_config": lambda run: (run / "config.yaml").unlink(),
    "no_provenance": lambda run: (run / "provenance.json").unlink(),
    "torn_config": _write("config.yaml", "a: [1\n"),
    "list_config": _write("config.yaml", "- 1\n"),
    "binary_config": _write("config.yaml", b"\xff\xfe\0"),
    "python_config": _write("config.yaml", 'model: !!python/object/apply:os.mkdir ["executed"]\n'),
    "environment_config": _edit("config.yaml", "n_layer: 1", "n_layer: ${oc.env:HOME}"),
    "other_config": _edit("config.yaml", "n_layer: 1", "n_layer: 2"),
    "odd_setting": _write("config.yaml", "foo: 1\n"),
    "torn_provenance": _write("provenance.json", "{"),
    "list_provenance": _write("provenance.json", "[]"),
    "empty_provenance": _write("provenance.json", "{}"),
    "torn_status": _write("status.json", "["),
    "odd_status": _write("status.json", '{"state": "dancing"}'),
    "no_checkpoint": lambda run: shutil.rmtree(run / "checkpoints"),
    "odd_step": lambda run: _newest(run).rename(run / "checkpoints" / "step_last"),
    "list_marker": lambda run: (_newest(run) / "complete.json").write_text("[1]"),
    "odd_marker": lambda run: (_newest(run) / "complete.json").write_text('{"sha256": [1]}'),
    "outside_marker": lambda run: (_newest(run) / "complete.json").write_text(
        '{"sha256": {"../../../source.txt": "0"}}'
    ),
    "no_model": _checkpoint(lambda folder: (folder / "model.safetensors").unlink()),
    "pickle_model": _pickle_for("model.safetensors"),
    "list_values": _checkpoint(lambda folder: (folder / "values.json").write_text("[1]")),
    "binary_values": _checkpoint(lambda folder: (folder / "values.json").write_bytes(b"\xff")),
    "pickle_values": _pickle_for("values.json"),
    "no_values_of_model": _without_value("model"),
    "no_progress": _without_value("progress"),
    "other_names": _model(lambda tensors: {f"{name}x": value for name, value in tensors.items()}),
    "other_shape": _model(lambda tensors: tensors | {"emb.weight": tensors["emb.weight"][:1].clone()}),
    "tensor_gone": _model(lambda tensors: {name: t for name, t in tensors.items() if name != "emb.weight"}),
    "no_ledger": _write("ledger.jsonl", ""),
    "torn_ledger": _write("ledger.jsonl", "nope\n"),
    "odd_ledger": _write("ledger.jsonl", '{"a": 1}\n'),
}
