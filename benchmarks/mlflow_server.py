"""An MLflow server of our own on loopback, which can be killed and brought back at the same address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
SECONDS_TO_START = 90


class LoopbackServer:
    """Down until `up` is called; its store lies in `folder`, beside its artifacts, and outlives every kill."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it, unless it runs, and wait until it answers: 5 to 13 seconds."""
        if self._process is not None:
            return
        options = ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}", "--port", str(self.port)]
        options += ["--artifacts-destination", str(self._folder / "artifacts"), "--workers", "1"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            env=os.environ | QUIET,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.kill()
        raise RuntimeError("the MLflow server did not come up")

    def kill(self) -> None:
        """SIGKILL to all of its processes; nothing when it is down."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
