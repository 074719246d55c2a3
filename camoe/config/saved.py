"""The configuration of an earlier run, read back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from camoe.config.refusal import ConfigError, not_an_option
from camoe.config.resolve import resolve
from camoe.config.run import RunConfig
from camoe.config.schema_store import ECONOMY_SCHEMAS


def saved_run(values: Mapping[str, Any], where: str) -> RunConfig:
    """The typed configuration that `config.yaml` of a run folder holds; `where` names the file in refusals.

    Raises ConfigError for anything that this version would not have saved. A setting that the file lacks takes its
    default; a checkpoint keeps the settings it was made with, and they are compared when it is loaded.
    """
    try:
        typed = OmegaConf.merge(_schema(values.get("economy")), dict(values))
        assert isinstance(typed, DictConfig)
        return resolve(typed)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: not a configuration of this version; {_problem(error)}") from error
    except ConfigError as refusal:
        raise ConfigError(f"{where}: {refusal}") from refusal


def _schema(economy: object) -> DictConfig:
    """Types of every setting, under the economy that the file names."""
    if not isinstance(economy, Mapping):
        raise ConfigError(f"economy: {economy!r} is no group of settings")
    kind = economy.get("kind")
    if not isinstance(kind, str) or kind not in ECONOMY_SCHEMAS:
        raise not_an_option("economy.kind", kind, ECONOMY_SCHEMAS)
    typed = OmegaConf.merge(OmegaConf.structured(RunConfig), {"economy": OmegaConf.structured(ECONOMY_SCHEMAS[kind])})
    assert isinstance(typed, DictConfig)
    return typed


def _problem(error: OmegaConfBaseException) -> str:
    place = f"{error.full_key}: " if error.full_key else ""
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
        return f"{place}no such setting"
    return place + str(error.msg or error).splitlines()[0]
