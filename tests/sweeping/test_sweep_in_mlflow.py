"""A sweep in MLflow: four runs at once in a store that did not exist, nested under one parent."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.jobs.command import command, text_file
from tests.sweeping.sweep_command import folders_of, write_sweep


@pytest.mark.slow
def test_four_runs_at_once_in_a_new_store(tmp_path: Path) -> None:
    arms = {"gate": ["economy=off"], "market": ["economy=v21"]}
    store = f"sqlite:///{tmp_path / 'new.db'}"
    overrides = [
        *[text for text in write_sweep(tmp_path, arms, seeds="1,2") if text != "tracking=local"],
        f"data.path={text_file(tmp_path)}",
        f"tracking.uri={store}",
    ]
    environment = {**os.environ, "MLFLOW_RUN_ID": "0" * 32}  # with it MLflow's own functions would ignore the parent
    for n_jobs in (4, 1):
        done = subprocess.run(
            command(*overrides, f"hydra.launcher.n_jobs={n_jobs}"),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("camoe")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("study")
    assert parent.info.status == "FINISHED"
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} == {"sweep.json", "table.txt"}
    names = {folder.name for arm in arms for seed in (1, 2) for folder in folders_of(tmp_path, arm, seed)}
    assert set(runs) == names
    assert len(names) == 4
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["final/bpb"] > 0
    assert done.stdout.count("finished already") == 4
