from __future__ import annotations

import os

import pytest

from camoe.tracking.provenance import collect_provenance, package_versions, without_passwords


def test_slurm_ids_are_recorded_and_no_other_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("SLURM_JWT", "secret-token")
    facts = collect_provenance(device="cpu")
    assert facts["slurm"] == {"SLURM_JOB_ID": "41"}
    assert facts["pid"] == os.getpid()
    assert facts["device"] == "cpu"
    assert "secret-token" not in str(facts)


def test_versions_of_our_requirements() -> None:
    versions = package_versions()
    assert {"torch", "mlflow", "omegaconf"} <= set(versions)
    assert "pytest" not in versions


def test_passwords_do_not_reach_the_record() -> None:
    line = "run.py tracking.uri=https://anna:s3cret@host:5000/x data.path=/a@b"
    assert without_passwords(line) == "run.py tracking.uri=https://***@host:5000/x data.path=/a@b"
