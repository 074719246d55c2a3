"""job=evaluate of a run that was really trained: figures by position and domain, and benchmarks offline."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from camoe.config.command_record import CommandRecord
from camoe.jobs.trained_run import open_trained_run
from tests.config.compositions import hydra_ready, run_config
from tests.inference.test_benchmark import CHOICE, WORD, refuse_to_connect, write_tasks
from tests.jobs.command import ROOT
from tests.jobs.test_export import _job

STAGED = ROOT.parent / "shared" / "data" / "eval"


def test_one_file_holds_what_was_found(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tasks(tmp_path / "data", {"word": WORD, "choice": CHOICE})
    _job("evaluate", finished, "evaluation.tasks=[word,choice]", f"evaluation.task_data={folder}")
    found = json.loads((finished / "evaluation.json").read_text())
    assert [(row["task"], row["metric"], row["n"]) for row in found["benchmarks"]] == [
        ("word", "perplexity", 3),
        ("word", "acc", 3),
        ("choice", "acc", 3),
        ("choice", "acc_norm", 3),
    ]
    assert sum(row["bytes"] for row in found["domains"]) == found["final/bytes"]
    with np.load(finished / "evaluation_positions.npz") as positions:
        assert len(positions["nats"]) == 32
        total = float((positions["nats"] * positions["targets"]).sum())
    assert total / math.log(2) / found["final/bytes"] == pytest.approx(found["final/bpb"], rel=1e-6)
    assert "acc_norm" in capsys.readouterr().out


@torch.no_grad()
def test_bits_per_byte_are_those_of_a_computation_of_its_own(finished: Path) -> None:
    """Token by token from the logits, by bytes counted in the text itself."""
    _job("evaluate", finished)
    found = json.loads((finished / "evaluation.json").read_text())
    asked = ("job=evaluate", f"job.run={finished}", "kernel.threads=1")
    with hydra_ready():
        config = run_config(*asked)
    trained = open_trained_run(config, CommandRecord(argv=(), overrides=asked, choices={}, sweep_dir=None, arm=None))
    ids = [int(token) for token in trained.corpus.valid.tokens]
    nats, ctx_len = 0.0, trained.config.train.ctx_len
    for start in range(0, len(ids) - 1, ctx_len):
        window = ids[start : start + ctx_len + 1]
        log_probs = trained.model(torch.tensor([window[:-1]]))[0][0].double().log_softmax(-1)
        nats -= sum(float(log_probs[place, target]) for place, target in enumerate(window[1:]))
    text_bytes = len(trained.corpus.tokenizer.decode_bytes([token for token in ids if token]))
    assert found["final/bytes"] == text_bytes
    assert found["final/bpb"] == pytest.approx(nats / math.log(2) / text_bytes, rel=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not STAGED.is_dir(), reason=f"no benchmark data in {STAGED}")
def test_lambada_and_blimp_run_offline(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", refuse_to_connect)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_to_connect)
    asked = ("evaluation.tasks=[lambada,blimp]", f"evaluation.task_data={STAGED}", "evaluation.limit=134")
    _job("evaluate", finished, *asked, "evaluation.group_field=UID")
    rows = json.loads((finished / "evaluation.json").read_text())["benchmarks"]
    figures = {(row["task"], row["metric"]): row for row in rows if not row["part"]}
    assert {row["n"] for row in figures.values()} == {134}
    assert [row["n"] for row in rows if row["part"].startswith("UID=")] == [2] * 67, "as many of every phenomenon"
    assert figures["lambada", "perplexity"]["value"] > 1
    assert 0 <= figures["lambada", "acc"]["value"] <= 1
    assert 0 <= figures["blimp", "acc"]["value"] <= 1
    assert figures["blimp", "acc"]["error"] > 0
