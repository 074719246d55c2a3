"""A run that was really trained, exported, and asked again as a file alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from camoe.config import ConfigError
from camoe.config.command_record import CommandRecord
from camoe.jobs import evaluate, export, generate
from tests.config.compositions import hydra_ready, run_config
from tests.jobs.command import records

JOBS = {"evaluate": evaluate, "export": export, "generate": generate}


def _job(name: str, source: Path, *overrides: str) -> None:
    """The job as run.py starts it, without a process of its own."""
    asked = (f"job={name}", f"job.run={source}", "kernel.threads=1", *overrides)
    with hydra_ready():
        config = run_config(*asked)
    JOBS[name].run(config, CommandRecord(argv=(), overrides=asked, choices={}, sweep_dir=None, arm=None))


@pytest.fixture(scope="module")
def exported(finished: Path) -> Path:
    """Its file."""
    _job("export", finished)
    return finished / "export.camoe"


def test_the_report_says_what_the_file_is(finished: Path, exported: Path) -> None:
    report = json.loads((finished / "export.camoe.json").read_text())
    assert report["bytes"] == exported.stat().st_size == sum(part["bytes"] for part in report["classes"].values())
    scores = report["bits_per_byte"]
    assert scores["raw"] == records(finished)[-1]["final/bpb"]
    assert scores["exported"] - scores["raw"] == report["change"] != 0
    assert abs(report["change"]) < 0.05


def test_the_file_alone_is_evaluated_and_continues_a_prompt(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.camoe"
    file.write_bytes(exported.read_bytes())
    _job("evaluate", file)
    found = json.loads((tmp_path / "small.camoe.evaluation.json").read_text())
    report = json.loads(Path(f"{exported}.json").read_text())
    assert found["final/bpb"] == report["bits_per_byte"]["exported"]
    assert "raw weights, windows of 32 tokens" in capsys.readouterr().out
    _job("generate", file, "job.prompt='class '", "job.sample_tokens=4")
    assert capsys.readouterr().out.startswith("class ")
    (sample,) = (tmp_path / "small.camoe.samples").glob("*.txt")
    assert sample.read_text().startswith("class ")


def test_formats_are_compared(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.camoe"
    _job("export", finished, f"job.output={file}", "job.compare_formats=[int4,fp32]", "job.zstd_level=1")
    report = json.loads(Path(f"{file}.json").read_text())
    raw, small, exact = report["compared"]
    assert [row["numbers"] for row in (raw, small, exact)] == ["as trained", "int4", "fp32"]
    assert small["bytes"] < report["bytes"] < exact["bytes"] < raw["bytes"] + 20000
    assert raw["bits_per_byte"] == report["bits_per_byte"]["raw"]
    assert exact["bits_per_byte"] == raw["bits_per_byte"]
    assert abs(small["bits_per_byte"] - raw["bits_per_byte"]) > 1e-5
    assert re.search(rf"int4 +{small['bytes']:,} +{small['bits_per_byte']:.4f}", capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.camoe", "x.camoe.json"]


def test_a_file_over_its_cap_is_refused_and_not_written(finished: Path, tmp_path: Path) -> None:
    words = r"bytes are [\d,]+ more than the 20,000 allowed; the biggest class is \w+ \(int"
    with pytest.raises(ConfigError, match=words):
        _job("export", finished, "job.max_bytes=20000", f"job.output={tmp_path / 'small.camoe'}")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_scored_as_the_command_asks(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _job("evaluate", finished, "evaluation.mode=sliding", "evaluation.stride=8")
    assert "windows of 32 tokens, 8 apart" in capsys.readouterr().out
    sliding = json.loads((finished / "evaluation.json").read_text())
    asked = {"mode": "sliding", "stride": 8, "by_document": False}
    assert asked.items() <= sliding["evaluation"].items()
    assert sliding["final/bpb"] != records(finished)[-1]["final/bpb"]
    assert sliding["final/bytes"] == records(finished)[-1]["final/bytes"]


def test_averaged_weights_are_exported_on_request(
    finished: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "averaged.camoe"
    _job("export", finished, "job.weights=averaged", f"job.output={file}", "job.zstd_level=1")
    printed = capsys.readouterr().out
    for line in (r"experts +int6", r"vectors +float16", r"state +exact", r"as exported \([+-]0\.0"):
        assert re.search(line, printed), printed
    raw, averaged = (json.loads(Path(f"{path}.json").read_text())["bits_per_byte"]["raw"] for path in (exported, file))
    assert averaged == records(finished)[-1]["final_averaged/bpb"] != raw
    with pytest.raises(ConfigError, match=r"job\.weights: .*export\.camoe holds raw weights"):
        _job("evaluate", exported, "job.weights=averaged")


def test_what_cannot_be_exported_or_read_is_refused(finished: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is exported already"):
        _job("export", exported)
    with pytest.raises(ConfigError, match=r"job\.output: .*nowhere/a is no file in a folder that exists"):
        _job("export", finished, f"job.output={tmp_path}/nowhere/a")
    for content, words in ((exported.read_bytes()[:-1], "cut short or damaged"), (b"PK", "not a file of job=export")):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(ConfigError, match=f"broken: {words}"):
            _job("evaluate", tmp_path / "broken")
