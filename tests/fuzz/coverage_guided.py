"""Readers under atheris, which keeps the inputs that reach new lines: python -m tests.fuzz.coverage_guided jsonl

An input that raises anything but a refusal in one line ends it with a traceback; libFuzzer writes it to crash-*. Needs
camoe[fuzz].
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris
import pyarrow as pa
from pyarrow import parquet

with atheris.instrument_imports(include=["camoe", "yaml"]):
    from camoe.config import ConfigError
    from camoe.inference.benchmark_tasks import task_configs
    from camoe.inference.prompts import read_prompts
    from tests.fuzz import test_fuzz_checkpoints as checkpoints
    from tests.fuzz import test_fuzz_data_files as data_files
    from tests.fuzz.damage import refuse_more_lines

TASK = (
    b"output_type: loglikelihood\ndataset_path: json\ndataset_kwargs: {data_files: {test: a.jsonl}}\nmetric_list: []\n"
)


def _table() -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"text": [f"document {number}" for number in range(20)]}), file)
    return file.getvalue()


def _refused_or(reader: Callable[[Path], object], suffix: str, folder: Path, content: bytes) -> None:
    path = folder / f"file{suffix}"
    path.write_bytes(content)
    try:
        reader(path)
    except ConfigError as refusal:
        refuse_more_lines(refusal)


def _text(suffix: str, folder: Path, content: bytes) -> None:
    data_files.read(folder / f"file{suffix}", content)


def _prompts(path: Path) -> None:
    read_prompts(path, "job.prompts_file")


def _task(path: Path) -> None:
    task_configs([path.stem], path.parent, path.parent)


Target = Callable[[Path, bytes], None]
TEXT = {"txt": b"# a\nb\n\n\nc\n", "jsonl": json.dumps({"text": "a"}).encode() + b"\n", "parquet": _table()}
TARGETS: dict[str, tuple[Target, bytes]] = {
    **{name: (partial(_text, f".{name}"), seed) for name, seed in TEXT.items()},
    **{
        kind: (partial(_refused_or, reader, f".{kind}"), checkpoints.contents(kind))
        for kind, reader in checkpoints.READERS.items()
    },
    "prompts": (
        partial(_refused_or, lambda path: read_prompts(path, "job.prompts_file"), ".jsonl"),
        b'{"prompt": "a"}\n',
    ),
    "task": (partial(_refused_or, lambda path: task_configs(["file"], path.parent, path), ".yaml"), TASK),
}
"""By name: what reads the bytes, and a file to begin with."""


def main(arguments: list[str]) -> None:
    """Runs until it is stopped or an input fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage_guided", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="draws the changes (default 1)")
    options = parser.parse_args(arguments)
    target, first = TARGETS[options.target]
    with TemporaryDirectory() as place:
        corpus, work = Path(place) / "corpus", Path(place) / "work"
        corpus.mkdir()
        work.mkdir()
        (corpus / "first").write_bytes(first)
        limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", f"-max_len={2 * len(first) + 256}"]
        atheris.Setup([sys.argv[0], *limits, "-rss_limit_mb=0", str(corpus)], partial(target, work))
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
