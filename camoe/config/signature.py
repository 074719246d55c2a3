"""The identity of a run: what it would compute, not where it writes or what it is called."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields, is_dataclass
from typing import Any

from camoe.config.data import DATA_PATHS, DataConfig
from camoe.config.train import TrainConfig

DIGITS = 10


def signature(config: Any) -> str:
    """Hash, 10 hexadecimal digits, of every setting that can change results.

    Settings and groups whose metadata says `affects_results=False` are left out. The order of dictionary entries
    counts, because phases run in the order written. Of data's paths and train.init_from the last name counts: where
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
    of_a_file = isinstance(group, DataConfig) and name in DATA_PATHS
    if value and (of_a_file or (isinstance(group, TrainConfig) and name == "init_from")):
        return os.path.basename(os.path.abspath(value))
    return value
