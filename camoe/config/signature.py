"""The identity of a run: what it would compute, not where it writes or what it is called."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields, is_dataclass
from typing import Any

from camoe.config.data import DATA_PATHS, DataConfig
from camoe.config.text_source import PATH_PREFIXES, SourceConfig
from camoe.config.tokenizer import TokenizerConfig
from camoe.config.train import TrainConfig

DIGITS = 10
PATHS: dict[type, tuple[str, ...]] = {
    DataConfig: DATA_PATHS,
    SourceConfig: ("path",),
    TokenizerConfig: ("path",),
    TrainConfig: ("init_from",),
}
"""Settings that are paths, by group."""


def signature(config: Any) -> str:
    """Hash, 10 hexadecimal digits, of every setting that can change results.

    Settings and groups whose metadata says `affects_results=False` are left out. The order of dictionary entries
    counts, because phases run in the order written. Of paths (`PATHS`) the last name counts: where
    a file lies does not change it, and the hashes in the run's provenance tell files of one name apart.
    """
    text = json.dumps(result_settings(config), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def result_settings(value: Any) -> Any:
    """The settings that can change results, as nested lists of (name, value), ready for JSON."""
    if is_dataclass(value):
        kept = sorted(field.name for field in fields(value) if field.metadata.get("affects_results", True))
        return [[name, result_settings(_counted(value, name))] for name in kept]
    if isinstance(value, dict):
        return [[name, result_settings(entry)] for name, entry in value.items()]
    return value


def _counted(group: Any, name: str) -> Any:
    value = getattr(group, name)
    return os.path.basename(os.path.abspath(value)) if value and _is_path(group, name) else value


def _is_path(group: Any, name: str) -> bool:
    """Whether a setting with a value says where a file lies."""
    if isinstance(group, SourceConfig) and name == "dataset":
        return str(group.dataset).startswith(PATH_PREFIXES)
    return any(isinstance(group, schema) and name in names for schema, names in PATHS.items())
