"""Where a run came from: command, code, packages, machine. Of the environment only SLURM's ids are recorded."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import psutil

from camoe.tracking.checkout import code_state
from camoe.tracking.process_identity import ProcessIdentity

SLURM_IDS = (
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_RESTART_COUNT",
)


def collect_provenance(**facts: Any) -> dict[str, Any]:
    """Everything that is known before training; `facts` are added (device, kernel, hashes, ...)."""
    process = ProcessIdentity.current()
    return {
        "command": without_passwords(shlex.join([sys.executable, *sys.argv])),
        "user": psutil.Process().username(),
        "host": process.host,
        "pid": process.pid,
        "process_started": process.started,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "slurm": {name: os.environ[name] for name in SLURM_IDS if name in os.environ},
        **code_state(),
        **facts,
    }


def without_passwords(text: str) -> str:
    """The text with `user:password@` of any URI in it replaced."""
    return re.sub(r"(\w+://)[^/\s@'\"]+@", r"\1***@", text)


def package_versions() -> dict[str, str]:
    """Installed versions of this package's own requirements."""
    try:
        requirements = requires("camoe") or []
    except PackageNotFoundError:
        return {}
    names = {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requirements if ";" not in requirement}
    return {name: found for name in sorted(names) if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
