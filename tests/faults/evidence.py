"""What a run leaves that must not depend on its having been interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camoe.training.checkpoint import MARKER, CheckpointStore

WRITTEN_LAST = (".status.json.", ".report.html.")


def records(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of metrics.jsonl, without what may depend on the clock."""
    lines = [json.loads(line) for line in complete_lines(folder / "metrics.jsonl")]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


def complete_lines(path: Path) -> list[bytes]:
    """Of a file that a kill may have torn, or kept from being made."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith(b"\n")]


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """Hashes of the tensors of every whole checkpoint, by its name: weights, market, optimiser, averages, windows.

    Not the global generators: nothing of a run draws from them, and torch's begins with the entropy of its process.
    """
    store = CheckpointStore(folder / "checkpoints")
    whole = [path for path in store.root.glob("step_*") if store.named(path.name)[0] is not None]
    return {path.name: _tensors(json.loads((path / MARKER).read_text())["sha256"]) for path in whole}


def _tensors(hashes: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in hashes.items() if name not in ("random.safetensors", "values.json")}


def arrays(folder: Path) -> dict[str, bytes]:
    """The files of arrays."""
    return {path.name: path.read_bytes() for path in [folder / "documents.parquet", *(folder / "probe").glob("*.npz")]}


def leftovers(folder: Path) -> list[str]:
    """Files that no run keeps when it has finished; it writes WRITTEN_LAST afterwards, and nobody goes on with it."""
    paths = (path.relative_to(folder) for path in folder.rglob(".*"))
    return sorted(str(path) for path in paths if not path.name.startswith(WRITTEN_LAST))


def assert_on_the_way(folder: Path, reference: Path) -> None:
    """What an interrupted run has so far is the beginning of what the uninterrupted one has."""
    so_far, whole = records(folder), records(reference)
    assert so_far == whole[: len(so_far)]
    booked, ledger = complete_lines(folder / "ledger.jsonl"), complete_lines(reference / "ledger.jsonl")
    assert booked == ledger[: len(booked)]
    expected = digests(reference)
    for name, found in digests(folder).items():  # a signal leaves one between those of the reference
        assert found == expected.get(name, found), name


def assert_same_end(folder: Path, reference: Path) -> None:
    """A run that was interrupted has become the one that was not, bit for bit."""
    assert records(folder) == records(reference)
    assert (folder / "ledger.jsonl").read_bytes() == (reference / "ledger.jsonl").read_bytes()
    kept, expected = digests(folder), digests(reference)
    assert max(kept) == max(expected)
    assert kept == {name: expected[name] for name in kept}
    assert arrays(folder) == arrays(reference)
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert leftovers(folder) == []
