"""Files and folders that settings name and the job will read: looked for before anything heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from camoe.config.refusal import ConfigError, nearest
from camoe.config.run import RunConfig

READ_TEXT = ("train", "prepare_data", "train_tokenizer")  # the jobs that read the text of group data


def check_named_paths(config: RunConfig) -> None:
    """ConfigError for the first path that does not exist, with the nearest name beside it; nothing is read."""
    for setting, path in _read_by_the_job(config):
        if path is not None and not os.path.exists(path):
            raise missing_path(setting, Path(path))


def missing_path(setting: str, path: Path) -> ConfigError:
    """The refusal "data.path: stories.txt does not exist; did you mean story.txt?"."""
    siblings = os.listdir(path.parent) if os.access(path.parent, os.R_OK) and path.parent.is_dir() else []
    near = nearest(path.name, siblings)
    link = " (a link to nowhere)" if path.is_symlink() else ""
    hint = f"; did you mean {path.parent / near}?" if near and not link else ""
    return ConfigError(f"{setting}: {path} does not exist{link}{hint}")


def _read_by_the_job(config: RunConfig) -> Iterator[tuple[str, str | None]]:
    job = config.job
    if config.resume is None and job.name in READ_TEXT:
        yield "data.path", config.data.path if config.data.source == "local" else None
    if job.name == "train" and config.resume is None:
        for profile, name in (("sft", "sft_path"), ("preferences", "preference_path")):
            yield f"data.{name}", getattr(config.data, name) if config.phase.with_profile(profile) else None
        yield "train.init_from", config.train.init_from
    elif job.name == "train":
        yield "resume", config.resume
    else:
        yield "job.run", job.run
    if job.name == "generate":
        yield "job.prompts_file", job.prompts_file
        yield "job.load_state", job.load_state
    if job.name == "evaluate" and config.evaluation.tasks:
        yield "evaluation.task_data", config.evaluation.task_data
    if job.name == "checkpoint":
        yield from (("job.checkpoint.others", other) for other in job.checkpoint.others)
