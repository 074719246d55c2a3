"""The repository root on Hydra's search path, of which Hydra sees `sweeps/` and nothing else."""

from __future__ import annotations

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from camoe.config.option_catalog import REPOSITORY

VISIBLE = "sweeps"


class SweepFolder(FileConfigSource):
    """A folder whose `sweeps/` is a config group; other folders (tests, a virtual environment) are no groups."""

    @staticmethod
    def scheme() -> str:
        return "repository"

    def is_group(self, config_path: str) -> bool:
        """Whether the path is the root itself, or lies in `sweeps/` and is a folder."""
        return config_path.split("/")[0] in ("", VISIBLE) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Whether the path is a YAML file in `sweeps/`."""
        return config_path.startswith(f"{VISIBLE}/") and super().is_config(config_path)


class SweepFolderOnSearchPath(SearchPathPlugin):
    """Lets `+sweeps=NAME` find `sweeps/NAME.yaml`, whichever the primary configuration."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("sweeps", f"{SweepFolder.scheme()}://{REPOSITORY}")
