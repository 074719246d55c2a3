"""The checkout that the running code comes from: the folder it lies in, or for a copy the one it was taken from."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from camoe.tracking.atomic_file import read_json

CODE = Path(__file__).resolve().parents[2]
RECORD = "checkout.json"  # in the root of a copy: what `code_state` said of the checkout when it was taken
GIT_SECONDS = 10


def checkout() -> Path:
    """The folder that the user works in, where defaults of ours are relative to."""
    return Path(_recorded(CODE).get("checkout", CODE))


def code_state(code: Path = CODE) -> dict[str, Any]:
    """The checkout that the code in a folder comes from, and if known its commit, branch and uncommitted changes."""
    return _recorded(code) or {"checkout": str(code), **git_state(code)}


@cache
def _recorded(code: Path) -> dict[str, Any]:
    """What a copy says of its checkout; empty for a checkout itself."""
    return read_json(code / RECORD) or {}


def git_state(root: Path) -> dict[str, Any]:
    """Commit, branch and uncommitted changes of the checkout at `root`; empty when it is none."""
    top = git(root, "rev-parse", "--show-toplevel")
    commit = git(root, "rev-parse", "HEAD")
    if top is None or commit is None or Path(top) != root:
        return {}
    diff = git(root, "diff", "HEAD") or ""
    untracked = (git(root, "ls-files", "--others", "--exclude-standard") or "").splitlines()
    return {
        "git_commit": commit,
        "git_branch": git(root, "rev-parse", "--abbrev-ref", "HEAD"),
        "git_dirty": bool(diff or untracked),
        "git_untracked": untracked,
        "git_diff": diff + "\n" if diff else "",
    }


def git(root: Path, *arguments: str) -> str | None:
    """What git says, None when it refuses or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()
