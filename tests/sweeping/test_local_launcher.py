"""Where local jobs run: whose code, which GPU, how many cores."""

from __future__ import annotations

import os
import signal

import pytest

from camoe.config.option_catalog import REPOSITORY
from camoe.sweeping.devices import visible_devices
from camoe.sweeping.local_launcher import job_environment
from camoe.sweeping.stop_request import StopRequest


def test_gpus_are_dealt_out_round_robin() -> None:
    dealt = [job_environment(slot, 3, {"CUDA_VISIBLE_DEVICES": "4,7"})["CUDA_VISIBLE_DEVICES"] for slot in range(3)]
    assert dealt == ["4", "7", "4"]


@pytest.mark.parametrize(
    ("listed", "devices"), [("", []), ("-1", []), ("0", ["0"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])]
)
def test_devices_are_those_that_are_visible(listed: str, devices: list[str]) -> None:
    assert visible_devices({"CUDA_VISIBLE_DEVICES": listed}) == devices
    assert "CUDA_VISIBLE_DEVICES" not in job_environment(0, 1, {"CUDA_VISIBLE_DEVICES": ""})


def test_cores_are_shared_unless_somebody_has_decided() -> None:
    gpuless = {"CUDA_VISIBLE_DEVICES": ""}
    cores = len(os.sched_getaffinity(0))
    assert "OMP_NUM_THREADS" not in job_environment(0, 1, gpuless)
    assert job_environment(0, 2, gpuless)["OMP_NUM_THREADS"] == str(max(1, cores // 2))
    assert job_environment(0, 10 * cores, gpuless)["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in job_environment(0, 2, {**gpuless, "OMP_NUM_THREADS": "3"})


def test_jobs_import_this_code_first() -> None:
    found = job_environment(0, 1, {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": "/mine"})["PYTHONPATH"]
    assert found.split(os.pathsep) == [str(REPOSITORY), "/mine"]


def test_signals_are_counted_and_noticed_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.is_new()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert (stop.count, stop.signal) == (2, signal.SIGTERM)
        assert stop.is_new()
        assert not stop.is_new()
    assert signal.getsignal(signal.SIGTERM) == before
