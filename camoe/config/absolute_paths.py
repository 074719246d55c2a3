"""Paths that mean the same from every working directory, for a configuration that is read again later."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from camoe.config.data import DATA_PATHS
from camoe.config.run import RunConfig

SQLITE = "sqlite:///"


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The same configuration with the paths of data, train.init_from and a sqlite tracking.uri made absolute.

    Idempotent; the signature stays what it was. Links are kept, so that a path ends in the name that the user wrote.
    """
    data, train, uri = config.data, config.train, config.tracking.uri
    return replace(
        config,
        data=replace(
            data,
            **{name: os.path.abspath(path) for name in DATA_PATHS if (path := getattr(data, name))},
            cache_dir=os.path.abspath(data.cache_dir),
        ),
        train=replace(train, init_from=os.path.abspath(train.init_from)) if train.init_from else train,
        tracking=replace(config.tracking, uri=absolute_sqlite(uri) if uri else uri),
    )


def absolute_sqlite(uri: str) -> str:
    """The URI with the path of its file absolute and without links; any other URI as it is."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri
