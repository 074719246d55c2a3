"""Files that no reader of ours takes, in one folder."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import torch
from pyarrow import parquet

from tests.pickles import pickled

SWEEP = {"command": "", "created": "", "arms": [], "analysis": {}}
ARM = {"arm": "a", "seed": 1, "overrides": [], "signature": "s"}
TEXTS: dict[str, bytes] = {
    "empty.txt": b"",
    "blank.txt": b"\n\n",
    "nul.txt": b"\0" * 5000,
    "binary.txt": b"".join(b"\xff%d\n" % number for number in range(20_000)),
    "utf16.txt": ("line\n" * 9000).encode("utf-16"),
    "small_latin1.txt": "déjà vu\n".encode("latin-1"),
    "huge_line.txt": b"x" * 2_000_000,
    "table.csv": b"text\nfoo\n",
    "no_json.jsonl": b'{"text": "a"}\nnope\n',
    "list.jsonl": b"[1, 2]\n",
    "other_field.jsonl": b'{"txt": "a"}\n',
    "number.jsonl": b'{"text": 3}\n',
    "key_twice.jsonl": b'{"text": "a", "text": 5}\n',
    "deep.jsonl": b'{"text":' + b"[" * 100_000 + b"\n",
    "long_number.jsonl": b'{"text": "a", "n": ' + b"9" * 6000 + b"}\n",
    "nul.jsonl": b'{"text": "a\0b"}\n',
    "latin1.jsonl": '{"text": "ü"}\n'.encode("latin-1"),
    "blank.jsonl": b"\n",
    "one.jsonl": b'{"text": "the same"}\n' * 50,
    "no_gzip.txt.gz": b"not gzip",
    "cut.jsonl.gz": gzip.compress(b'{"text": "abc"}\n' * 5000)[:60],
    "no.parquet": b"PAR1 nothing",
    "no.arrow": b"ARROW1",
    "blank_prompts.txt": b"\n",
    "number_prompt.jsonl": b'{"prompt": 3}\n',
    "deep_prompt.jsonl": b"[" * 100_000,
    "short.safetensors": b"\xff" * 7,
    "long_header.safetensors": b"\xff" * 8 + b"{}",
    "empty.pth": b"",
    "file": b"x",
    "no_messages.jsonl": b'{"messages": []}\n' * 20,
    "odd_role.jsonl": b'{"messages": [{"role": ["user"], "content": "a"}]}\n' * 20,
    "no_answer.jsonl": b'{"messages": [{"role": "user", "content": "a"}]}\n' * 20,
    "no_question.jsonl": b'{"foo": "a"}\n' * 20,
}
SWEEPS: dict[str, object] = {
    "no_json": None,
    "list": [],
    "no_arms": {},
    "odd_seed": {"sweep": "odd_seed", **SWEEP, "arms": [{**ARM, "seed": "x/y"}]},
    "odd_analysis": {"sweep": "odd_analysis", **SWEEP, "arms": [ARM], "analysis": [1]},
    "odd_alpha": {"sweep": "odd_alpha", **SWEEP, "arms": [ARM], "analysis": {"alpha": 7}},
}


def make_wrong_files(folder: Path) -> None:
    """Text, records, columns, links, weights and plans of sweeps."""
    for name, content in TEXTS.items():
        (folder / name).write_bytes(content)
    _columns(folder)
    for name, target in (("nowhere.txt", "gone.txt"), ("circle.txt", "circle.txt"), ("circle", "circle")):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.txt")
    for name, files in {"no_files": (), "no_valid": ("train.txt",), "two": ("train.txt", "train.jsonl")}.items():
        (folder / name).mkdir()
        for file in files:
            (folder / name / file).write_text("x\n")
    _weights(folder)
    for name, content in SWEEPS.items():
        plan = folder / "outputs" / "sweeps" / name / "sweep.json"
        plan.parent.mkdir(parents=True)
        plan.write_text("nope" if content is None else json.dumps(content))


def _columns(folder: Path) -> None:
    parquet.write_table(pa.table({"text": [1, 2]}), folder / "numbers.parquet")
    parquet.write_table(pa.table({"txt": ["a"]}), folder / "other_field.parquet")
    parquet.write_table(pa.table({"text": pa.array([None], pa.string())}), folder / "nulls.parquet")


def _weights(folder: Path) -> None:
    for suffix in ("pth", "safetensors", "camoe", "parquet", "arrow", "jsonl"):
        (folder / f"pickle.{suffix}").write_bytes(pickled(folder / "executed"))
    torch.save({}, folder / "no_tensors.pth")
    torch.save([1, 2], folder / "list.pth")
    torch.save({"emb.weight": torch.zeros(3, 3)}, folder / "other_size.pth")
    torch.save({"emb.weight": torch.full((256, 32), torch.nan)}, folder / "nan.pth")
    torch.save({"odd.weight": torch.zeros(3)}, folder / "other_names.pth")
