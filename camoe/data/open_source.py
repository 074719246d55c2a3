"""From the data group to the source of text that it describes."""

from __future__ import annotations

from pathlib import Path

from camoe.config.data import DataConfig
from camoe.data.hub_text import HubText
from camoe.data.local_files import LocalFiles
from camoe.data.mixture import Mixture
from camoe.data.python_stdlib import PythonStdlib
from camoe.data.source import Source


def open_source(data: DataConfig) -> Source:
    """The source that `data` names; ConfigError for local files that are missing or unfit."""
    if data.source == "local":
        assert data.path is not None
        return LocalFiles(data.path, data.text_field, data.valid_fraction)
    if data.source == "mixture":
        sources = {name: _named(name, data) for name in data.sources}
        weights = {name: source.weight for name, source in data.sources.items()}
        return next(iter(sources.values())) if len(sources) == 1 else Mixture(sources, weights, data.mixture_seed)
    return PythonStdlib(data.valid_fraction)


def _named(name: str, data: DataConfig) -> Source:
    source, setting = data.sources[name], f"data.sources.{name}"
    if source.path is not None:
        return LocalFiles(source.path, source.text_field, data.valid_fraction, name=name, setting=setting)
    return HubText(name, source, setting, data.valid_fraction, Path(data.cache_dir))
