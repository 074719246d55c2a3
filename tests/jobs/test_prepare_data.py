"""job=prepare_data and job=train_tokenizer: what they say, and kills from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from camoe.config.command_record import CommandRecord
from camoe.jobs import prepare_data
from tests.jobs.command import ROOT, SMALL, command, records, run, run_folder
from tests.small_run import small_run

STAGED = ROOT.parent / "shared" / "data"
COMMAND = CommandRecord(argv=(), overrides=(), choices={}, sweep_dir=None, arm=None)
staged = pytest.mark.skipif(not STAGED.is_dir(), reason=f"no data in {STAGED}")


def dialogues(path: Path) -> Path:
    lines = [{"instruction": f"Count to {n}.", "output": " ".join(map(str, range(n + 1)))} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_says_and_writes_what_was_prepared(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {"own": {"path": str(dialogues(tmp_path / "d.jsonl"))}}
    data = {"source": "local", "path": str(text), "sft_sources": sources, "cache_dir": str(tmp_path / "cache")}
    prepare_data.run(small_run(data=data), COMMAND)
    (file,) = (tmp_path / "cache").glob("*/statistics.json")
    found = json.loads(file.read_text())
    shown = capsys.readouterr().out
    assert set(found) == {"pretrain", "sft"}
    for profile, statistics in found.items():
        assert f"{profile} hash {statistics['fingerprint']}" in shown
        for part in ("train", "valid"):
            assert f"{statistics[part]['tokens']:,}" in shown
            assert f"{statistics[part]['bytes_per_token']:.3f}" in shown
    assert found["sft"]["train"]["items"] + found["sft"]["valid"]["items"] == 60


def killed_when(reached: Callable[[], bool], cwd: Path, *overrides: str) -> None:
    """Start the command and end it by SIGKILL as soon as something holds."""
    process = subprocess.Popen(
        command(*overrides), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 240
    while not reached() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def made(cache: Path) -> dict[str, object]:
    """Content of every file; of the statistics all but the seconds."""
    (manifest,) = cache.glob("*/manifest.json")
    names = ("train.bin", "valid.bin", "train.documents.npz", "valid.documents.npz", "tokenizer.json")
    files: dict[str, object] = {name: (manifest.parent / name).read_bytes() for name in names}
    statistics = json.loads((manifest.parent / "statistics.json").read_text())["pretrain"]
    return files | {name: value for name, value in statistics.items() if name != "seconds"}


@pytest.mark.slow
def test_killed_at_any_part_it_goes_on_to_identical_files(tmp_path: Path) -> None:
    """The library's own text, killed three times; finished parts are neither lost nor made again."""
    asked = ["job=prepare_data", "tokenizer=bpe1k", "data.max_train_bytes=9000000", "data.max_valid_bytes=1000000"]
    cache = tmp_path / "cache"

    def parts() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in cache.glob("*.partial/parts/*.npz")}

    before: dict[str, int] = {}
    for count in (0, 2, 4):
        killed_when(lambda: cache.is_dir() and len(parts()) >= count, tmp_path, *asked, f"data.cache_dir={cache}")  # noqa: B023
        assert before.items() <= parts().items()
        before = parts()
    assert len(before) >= 4
    done = run(tmp_path, *asked, f"data.cache_dir={cache}", timeout=300)
    assert done.returncode == 0, done.stderr
    whole = run(tmp_path, *asked, f"data.cache_dir={tmp_path / 'whole'}", timeout=300)
    assert whole.returncode == 0, whole.stderr
    assert made(cache) == made(tmp_path / "whole")


@pytest.mark.slow
def test_offline_is_one_line_and_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for option, setting in (
        ("tinystories", "data.sources.tinystories"),
        ("fineweb_cosmopedia", "data.sources.fineweb_edu"),
        ("ultrachat", "data.sft_sources.ultrachat"),
    ):
        refused = run(tmp_path, "job=prepare_data", f"data={option}", "tokenizer=byte")
        assert refused.returncode == 2
        (line,) = refused.stderr.strip().splitlines()
        assert line.startswith(f"{setting}.dataset: ")
        assert line.endswith(f"give local files with {setting}.path=FILE or FOLDER")


@pytest.mark.slow
@staged
def test_staged_corpora_from_tokenizer_to_training(tmp_path: Path) -> None:
    """A tokenizer, a mixture of two corpora, dialogues and pairs; then a run that reads all of it."""
    sources = [
        "data=fineweb_cosmopedia",
        f"data.sources.fineweb_edu.path={STAGED / 'c4_demo'}",
        f"data.sources.cosmopedia.path={STAGED / 'wiki_demo'}",
        f"data.sft_sources.ultrachat.path={STAGED / 'sft_instruct1100'}",
        f"data.preference_sources.ultrafeedback.path={STAGED / 'pref_instruct1100'}",
    ]
    trained = run(
        tmp_path, "job=train_tokenizer", *sources, "tokenizer.vocab_size=700", "job.output=own.json", timeout=300
    )
    assert trained.returncode == 0, trained.stderr
    chosen = [*sources, "tokenizer=bpe", "tokenizer.vocab_size=700", "tokenizer.path=own.json"]
    prepared = run(tmp_path, "job=prepare_data", *chosen, timeout=300)
    assert prepared.returncode == 0, prepared.stderr
    (file,) = tmp_path.glob("outputs/cache/*/statistics.json")
    statistics = json.loads(file.read_text())
    assert set(statistics) == {"pretrain", "sft", "preferences"}
    shares = statistics["pretrain"]["train"]["bytes_by_domain"]
    assert shares["fineweb_edu"] / sum(shares.values()) == pytest.approx(0.7, abs=0.05)
    small = [item for item in SMALL if not item.startswith(("data", "tokenizer", "train.ctx_len"))]
    phases = ["train.ctx_len=96", "phase.schedule.sft.steps=3", "phase.schedule.rlhf.steps=3"]
    ran = run(tmp_path, *small, *chosen, *phases, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert statistics["pretrain"]["fingerprint"][:16] in ran.stdout


@pytest.mark.slow
def test_a_run_on_documents_alone_is_resumed_to_the_same_losses(text: Path, tmp_path: Path) -> None:
    path = tmp_path / "modules.jsonl"
    documents = text.read_text().split('\n"""')
    path.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))
    asked = [*SMALL, f"data.path={path}", "data.reset_at_boundaries=true"]
    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole", *asked, timeout=300)
    assert whole.returncode == 0, whole.stderr
    assert "one document each" in whole.stdout

    def saved() -> bool:
        return any(tmp_path.glob("outputs/2*/*/checkpoints/*"))

    killed_when(saved, tmp_path, *asked)
    again = run(tmp_path, *asked, timeout=300)
    assert again.returncode == 0, again.stderr
    lines = [records(run_folder(cwd)) for cwd in (tmp_path / "whole", tmp_path)]
    assert lines[0] == lines[1]
