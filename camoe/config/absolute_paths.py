"""Paths that mean the same from every working directory, for a configuration that is read again later."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from camoe.config.data import DATA_PATHS, MIXTURES, DataConfig
from camoe.config.run import RunConfig
from camoe.config.text_source import PATH_PREFIXES, SourceConfig

SQLITE = "sqlite:///"


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same configuration with all paths of data and tokenizer, train.init_from and a sqlite tracking.uri absolute.

    Idempotent; the signature stays what it was. Links are kept, so that a path ends in the name that the user wrote.
    """
    train, tokenizer, uri = config.train, config.tokenizer, config.tracking.uri
    return replace(
        config,
        data=_absolute_data(config.data),
        train=replace(train, init_from=os.path.abspath(train.init_from)) if train.init_from else train,
        tokenizer=replace(tokenizer, path=os.path.abspath(tokenizer.path)) if tokenizer.path else tokenizer,
        tracking=replace(config.tracking, uri=absolute_sqlite(uri) if uri else uri),
    )


def _absolute_data(data: DataConfig) -> DataConfig:
    paths = {name: os.path.abspath(path) for name in DATA_PATHS if (path := getattr(data, name))}
    mixtures = {
        mixture: {name: _absolute(source) for name, source in data.named(profile).items()}
        for profile, mixture in MIXTURES.items()
    }
    changed: dict[str, Any] = {**paths, **mixtures, "cache_dir": os.path.abspath(data.cache_dir)}
    return replace(data, **changed)


def _absolute(source: SourceConfig) -> SourceConfig:
    if source.path:
        source = replace(source, path=os.path.abspath(source.path))
    if source.dataset and source.dataset.startswith(PATH_PREFIXES):
        source = replace(source, dataset=os.path.abspath(source.dataset))
    return source


def absolute_sqlite(uri: str) -> str:
    """The URI with the path of its file absolute and without links; any other URI as it is."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri
