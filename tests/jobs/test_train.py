"""Training through the real command line: a whole run, its records, its status, its exit codes."""

import json
import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.jobs.command import SMALL, STEPS, TOTAL_STEPS, command, records, run, run_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    cwd = tmp_path_factory.mktemp("finished")
    result = run(cwd, *SMALL, f"data.path={text}")
    assert result.returncode == 0, result.stderr
    (cwd / "stdout.txt").write_text(result.stdout)
    return cwd


def test_a_run_passes_every_phase_and_ends_with_its_summary(finished: Path) -> None:
    folder = run_folder(finished)
    seen = [record["phase/name"] for record in records(folder) if "phase/name" in record]
    assert list(dict.fromkeys(seen)) == list(STEPS)
    final = records(folder)[-1]
    assert 0 < final["final/bpb"] < 9
    assert final["final/gzip_bpb"] < final["final/unigram_bpb"]
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    stdout = (finished / "stdout.txt").read_text()
    bits = f"{final['final/bpb']:.4f}"
    for expected in (bits, "gzip -9", "byte unigram", "Transformer use", "L01", "Gini", "alpha", str(folder)):
        assert expected in stdout
    assert (folder / "summary.svg").is_file()
    assert (folder / "samples" / "final.txt").read_text().startswith("def ")


def test_provenance_names_what_arms_are_paired_by(finished: Path) -> None:
    facts = json.loads((run_folder(finished) / "provenance.json").read_text())
    assert facts["seeds"] == {"init": 0, "data": 0, "router_noise": 0}
    assert (facts["sweep"], facts["arm"]) == (None, None)
    assert {"rwkv_backbone", "embedding_head", "router_gate", "critic"} <= set(facts["initial_weights_by_group"])


def test_documents_add_up_to_the_final_record(finished: Path) -> None:
    folder = run_folder(finished)
    final, documents = records(folder)[-1], pd.read_parquet(folder / "documents.parquet")
    assert documents["bytes"].sum() == final["final/bytes"]
    assert documents["nats"].sum() == pytest.approx(final["final/loss"] * documents["tokens"].sum(), rel=1e-12)
    assert final["final/bpb"] == pytest.approx(documents["nats"].sum() / documents["bytes"].sum() / np.log(2))
    assert list(documents) == ["document", "tokens", "bytes", "nats"]


def test_the_probe_notes_who_served_the_sample_that_is_evaluated(finished: Path) -> None:
    folder = run_folder(finished)
    (valid,) = [record for record in records(folder) if record["step"] == 12 and "valid/loss" in record]
    text, reading = np.load(folder / "probe" / "tokens.npz"), np.load(folder / "probe" / "step_00000012.npz")
    count = len(text["input"])  # three whole sequences, and what is left of the text
    assert 3 * 32 < count <= 4 * 32
    assert reading["winners"].shape == (2, count, 2)
    load = np.array([np.bincount(layer.ravel(), minlength=4) for layer in reading["winners"]]) / (2 * count)
    np.testing.assert_allclose(load, valid["valid/load/by_expert"])
    assert reading["nats"].mean() == pytest.approx(valid["valid/loss"])
    assert (text["input"][1:32] == text["target"][:31]).all()


def test_the_same_command_gives_the_same_records_bit_for_bit(finished: Path, text: Path, tmp_path: Path) -> None:
    assert run(tmp_path, *SMALL, f"data.path={text}").returncode == 0
    assert records(run_folder(tmp_path)) == records(run_folder(finished))


def test_evaluate_and_generate_read_a_finished_run(finished: Path) -> None:
    folder = run_folder(finished)
    result = run(finished, "job=evaluate", f"job.run={folder}", "kernel.threads=1")
    assert result.returncode == 0, result.stderr
    assert f"{records(folder)[-1]['final/bpb']:.4f} bits per byte" in result.stdout
    assert "windows of 32 tokens, computed" in result.stdout
    result = run(finished, "job=generate", f"job.run={folder}", "job.prompt='class '", "job.sample_tokens=5")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("class ")


def test_a_stopped_run_goes_on_to_the_same_records(finished: Path, text: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(*SMALL, f"data.path={text}"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    folder = _wait_for_records(tmp_path, process, 2)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert json.loads((folder / "status.json").read_text())["state"] == "killed"
    _finish_and_compare(folder, tmp_path, finished)


@pytest.mark.slow
def test_a_run_in_bf16_goes_on_to_the_same_records_and_evaluates_in_bf16(text: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    overrides = [*SMALL, f"data.path={text}", "train.precision=bf16", "train.recompute=time_mix", "averaging=swa"]
    result = run(whole, *overrides)
    assert result.returncode == 0, result.stderr
    assert "bfloat16" in result.stdout
    process = subprocess.Popen(command(*overrides), cwd=broken, stdout=subprocess.DEVNULL)
    folder = _wait_for_records(broken, process, 3)
    process.kill()
    process.wait(60)
    _finish_and_compare(folder, broken, whole)
    result = run(whole, "job=evaluate", f"job.run={run_folder(whole)}")
    assert f"{records(run_folder(whole))[-1]['final/bpb']:.4f} bits per byte" in result.stdout
    assert "computed in bf16" in result.stdout
    result = run(whole, "job=evaluate", f"job.run={run_folder(whole)}", "job.weights=averaged")
    assert f"{records(run_folder(whole))[-1]['final_averaged/bpb']:.4f} bits per byte" in result.stdout
    assert "averaged weights, " in result.stdout


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_records(finished: Path, text: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(*SMALL, f"data.path={text}"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    folder = _wait_for_records(tmp_path, process, 3)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    _finish_and_compare(folder, tmp_path, finished)


def _wait_for_records(cwd: Path, process: subprocess.Popen[bytes], count: int) -> Path:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        for metrics in cwd.glob("outputs/2*/*/metrics.jsonl"):
            if metrics.read_bytes().count(b"\n") >= count:
                return metrics.parent
        time.sleep(0.002)
    raise AssertionError(f"the run ended or stalled before {count} records, exit code {process.poll()}")


def _finish_and_compare(folder: Path, cwd: Path, reference: Path) -> None:
    steps = [record["step"] for record in records_so_far(folder)]
    assert not steps or steps[-1] < TOTAL_STEPS, "stopped too late to test anything"
    result = run(cwd, f"resume={folder}")
    assert result.returncode == 0, result.stderr
    assert records(folder) == records(run_folder(reference))
    assert kept(folder) == kept(run_folder(reference))
    seconds = [record["time/training_s"] for record in records_so_far(folder) if "time/training_s" in record]
    assert seconds == sorted(seconds), "the resumed process goes on from the seconds of its checkpoint"
    assert (folder / "ledger.jsonl").read_bytes() == (run_folder(reference) / "ledger.jsonl").read_bytes() != b""
    assert _state(folder) == "finished"


def kept(folder: Path) -> dict[str, bytes]:
    """The files of arrays, byte for byte."""
    names = ["documents.parquet", "probe/tokens.npz", *(f"probe/step_{step:08d}.npz" for step in (6, 12, 18))]
    assert {f"probe/{path.name}" for path in (folder / "probe").iterdir()} == set(names[1:])
    return {name: (folder / name).read_bytes() for name in names}


def _state(folder: Path) -> str:
    return json.loads((folder / "status.json").read_text())["state"]


def test_a_signal_while_the_held_out_text_is_scored_ends_the_run_too(
    finished: Path, text: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"  # half of it takes many seconds to score: the signal cannot come too late
    long.write_text(text.read_text() * 8)
    settings = [*SMALL, f"data.path={long}", "data.max_valid_bytes=null", "data.valid_fraction=0.5"]
    process = subprocess.Popen(command(*settings), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "scoring the held-out text" in line:
            process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert _state(run_folder(tmp_path)) == "killed"
    assert finished.is_dir()


def test_a_finished_run_has_nothing_to_go_on_with(finished: Path) -> None:
    folder = run_folder(finished)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    result = run(finished, f"resume={folder}")
    assert result.returncode == 0
    assert "is finished" in result.stdout
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_an_optimiser_without_its_library_is_refused_in_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, "optimizer=adamw8bit")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "bitsandbytes" in result.stderr
    assert "optimizer=adamw" in result.stderr


@pytest.mark.parametrize("wrong", ["train.ctx_len=100000000", "tracking=mlflow tracking.uri=sqlite:////nowhere/x.db"])
def test_a_refusal_leaves_no_run_folder(text: Path, tmp_path: Path, wrong: str) -> None:
    result = run(tmp_path, *SMALL, f"data.path={text}", *wrong.split())
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert list(tmp_path.glob("outputs/2*")) == []


@pytest.mark.slow
def test_a_terminal_that_cannot_show_the_sample_does_not_fail_the_run(text: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        command(*SMALL, f"data.path={text}"),
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert result.returncode == 0, result.stderr
    assert _state(run_folder(tmp_path)) == "finished"


def records_so_far(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_resume_refuses_other_settings_and_other_folders(finished: Path, tmp_path: Path) -> None:
    folder = run_folder(finished)
    result = run(tmp_path, f"resume={folder}", "model.n_layer=3")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "model.n_layer=3" in result.stderr
    result = run(tmp_path, f"resume={tmp_path}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "not a run folder" in result.stderr
    assert list(tmp_path.iterdir()) == []
