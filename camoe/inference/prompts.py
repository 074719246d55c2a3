"""A file of prompts."""

from __future__ import annotations

import json
from pathlib import Path

from camoe.config import ConfigError


def read_prompts(path: Path, what: str) -> list[str]:
    """The `prompt` of each line of a .jsonl, or the lines of any other text that are not empty.

    ConfigError, which begins with `what`, where there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what}: cannot read {path} ({error})") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise ConfigError(f"{what}: {path} holds no prompt")
    if path.suffix != ".jsonl":
        return [line for _, line in numbered]
    return [_prompt(line, f"{what}: {path}, line {number}") for number, line in numbered]


def _prompt(line: str, where: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise ConfigError(f"{where}: no JSON ({error})") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str):
        raise ConfigError(f'{where}: needs {{"prompt": "..."}}')
    return entry["prompt"]
