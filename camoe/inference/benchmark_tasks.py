"""Task files of lm-evaluation-harness, read so that nothing but local files is ever asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from camoe.config import ConfigError
from camoe.config.refusal import not_an_option
from camoe.tracking.stays_below import stays_below

LOCAL_FORMATS = ("json", "text", "csv", "parquet", "arrow")  # of dataset_path: these builders read files alone
LEADS_ELSEWHERE = ("include", "group", "task_list", "class")  # keys for other files, for tasks unchecked here, for code


def task_configs(names: list[str], folder: Path, cache_dir: Path) -> list[dict[str, Any]]:
    """The tasks, each of a file NAME.yaml in the folder or below it, with absolute data_files.

    Their data_files are relative to the folder, and cannot lead out of it. ConfigError in one line for a missing task,
    a missing file, or a task whose data would come from a hub.
    """
    if not folder.is_dir():
        raise ConfigError(f"evaluation.task_data: {folder} is no folder")
    files = {file.stem: file for file in sorted(folder.rglob("*.yaml"), reverse=True)}
    for name in names:
        if name not in files:
            raise not_an_option("evaluation.tasks", name, files or ["none: no *.yaml below it"], noun="task file")
    return [{**_local(files[name], folder, cache_dir), "task": name} for name in names]


def _local(file: Path, folder: Path, cache_dir: Path) -> dict[str, Any]:
    """The content of a task file with absolute paths."""
    task = _plain_content(file)
    if task.get("dataset_path") not in LOCAL_FORMATS:
        found = task.get("dataset_path")
        allowed = ", ".join(LOCAL_FORMATS)
        raise ConfigError(f"{file}: dataset_path is {found!r}, which is no local data; must be one of {allowed}")
    for key in LEADS_ELSEWHERE:
        if key in task:
            raise ConfigError(f"{file}: {key} is not read here; a task file must be a task of its own")
    _check_metrics(task.get("metric_list") or [], file)
    settings = task.get("dataset_kwargs")
    if not isinstance(settings, dict) or not settings.get("data_files"):
        raise ConfigError(f"{file}: has no dataset_kwargs.data_files; must name local files")
    where = _absolute(settings["data_files"], folder.resolve(), file)
    return {**task, "dataset_kwargs": {**settings, "data_files": where, "cache_dir": str(cache_dir)}}


def _plain_content(file: Path) -> dict[str, Any]:
    try:
        task = yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes, dates and numbers that are none
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{file}: not readable as plain YAML ({problem})") from None
    if not isinstance(task, dict):
        raise ConfigError(f"{file}: is no task; must be settings with their values, as 'dataset_path: json'")
    return task


def _check_metrics(metrics: Any, file: Path) -> None:
    """A metric of another library would be a program, fetched and executed."""
    for entry in metrics if isinstance(metrics, list) else [metrics]:
        named = isinstance(metrics, list) and isinstance(entry, dict) and isinstance(entry.get("metric"), str)
        if not named or entry.get("hf_evaluate"):
            raise ConfigError(f"{file}: metric_list has {entry!r}; must be 'metric: NAME' of the harness itself")


def _absolute(data_files: Any, folder: Path, task: Path) -> Any:
    """A path, a list of paths, or these by split, all absolute."""
    if isinstance(data_files, dict):
        return {split: _absolute(files, folder, task) for split, files in data_files.items()}
    if isinstance(data_files, list):
        return [_absolute(file, folder, task) for file in data_files]
    name = str(data_files)
    if not stays_below(name):
        raise ConfigError(f"{task}: data file {name!r} lies outside {folder}; must be relative to it and below it")
    if not os.path.isfile(folder / name):  # Path.is_file raises for names that are too long
        raise ConfigError(f"{task}: data file {name!r} is not in {folder}; give the folder that holds it as task_data")
    return str(folder / name)
