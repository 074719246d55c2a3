"""An experiment in MLflow as run folders, and the comparison as an artifact of a sweep's parent run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import analysis
from analysis.__main__ import main
from camoe.config import ConfigError
from tests.analysis.made_runs import made_run, made_sweep


@pytest.fixture
def client(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """An empty store with one experiment, named by the environment as a user would."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    found = MlflowClient(store)
    found.create_experiment("study", artifact_location=(tmp_path / "artifacts").as_uri())
    return found


def logged(client: MlflowClient, folder: Path | None) -> str:
    """A run of the experiment, with its folder's files as the run itself logs them."""
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    tags = {} if folder is None else {"camoe.run_folder": str(folder)}
    run_id = client.create_run(experiment.experiment_id, tags=tags, run_name=folder.name if folder else "parent").info
    if folder is not None:
        for name in ("config.yaml", "provenance.json", "metrics.jsonl"):
            client.log_artifact(run_id.run_id, str(folder / name))
        client.set_terminated(run_id.run_id, status="FINISHED")
    return str(run_id.run_id)


def test_runs_of_an_experiment_here_and_elsewhere(client: MlflowClient, tmp_path: Path) -> None:
    here, elsewhere = made_run(tmp_path, "a", 1, 1.5), made_run(tmp_path, "b", 1, 1.25)
    for folder in (None, here, elsewhere):
        logged(client, folder)
    shutil.rmtree(elsewhere)
    runs = analysis.load_runs(experiment="study", output_dir=tmp_path / "outputs")
    assert list(runs["name"]) == ["a", "b"]
    assert list(runs["status"]) == ["finished", "finished"]
    assert list(runs["final/bpb"]) == [1.5, 1.25]
    assert runs["folder"][0] == here
    assert runs["folder"][1].name == elsewhere.name
    assert list(analysis.load_runs(output_dir=tmp_path / "outputs")["name"]) == ["a"]


def test_no_such_experiment(client: MlflowClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert client.get_experiment_by_name("studdy") is None
    with pytest.raises(ConfigError, match="--experiment: no experiment 'studdy'; did you mean study"):
        analysis.load_runs(experiment="studdy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(ConfigError, match=r"MLflow: no store at .*other\.db"):
        analysis.load_runs(experiment="study")
    assert not (tmp_path / "other.db").exists()


def test_the_comparison_is_an_artifact_of_the_parent_run(
    client: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = logged(client, None)
    for arm in "ab":
        made_run(tmp_path, arm, 1)
    file = made_sweep(tmp_path, "s", [("a", 1), ("b", 1)]) / "sweep.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "parent_run_id": parent}))
    command = ["compare", "--sweep", "s", "--output-dir", str(tmp_path / "outputs")]
    assert main([*command, "--no-log"]) == 0
    assert client.list_artifacts(parent) == []
    assert main(command) == 0
    assert f"logged to MLflow as artifact comparison of run {parent}" in capsys.readouterr().out
    names = {file.path for file in client.list_artifacts(parent, "comparison")}
    assert {"comparison/comparison.json", "comparison/comparison.csv"} <= names


def test_a_store_that_does_not_answer_spoils_no_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for arm in "ab":
        made_run(tmp_path, arm, 1)
    file = made_sweep(tmp_path, "s", [("a", 1), ("b", 1)]) / "sweep.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "parent_run_id": "0" * 32}))
    assert main(["compare", "--sweep", "s", "--output-dir", str(tmp_path / "outputs")]) == 0
    output = capsys.readouterr().out
    assert "comparison.json" in output
    assert sum("not logged to MLflow: " in line for line in output.splitlines()) == 1
