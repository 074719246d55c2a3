"""The configuration of an earlier run, read back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from camoe.config.refusal import ConfigError, not_an_option
from camoe.config.resolve import resolve
from camoe.config.run import RunConfig
from camoe.config.schema_store import SCHEMAS_BY_KIND


def saved_run(values: Mapping[str, Any], where: str) -> RunConfig:
    """The typed configuration that `config.yaml` of a run folder holds; `where` names the file in refusals.

    Raises ConfigError for anything that this version would not have saved. A setting that the file lacks takes its
    default; a checkpoint keeps the settings it was made with, and they are compared when it is loaded.
    """
    try:
        typed = OmegaConf.merge(_schema(values), dict(values))
        assert isinstance(typed, DictConfig)
        return resolve(typed)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: not a configuration of this version; {_problem(error)}") from error
    except ConfigError as refusal:
        raise ConfigError(f"{where}: {refusal}") from refusal


def _schema(values: Mapping[str, Any]) -> DictConfig:
    """Types of every setting, under the kinds of economy and router that the file names."""
    kinds = {group: OmegaConf.structured(_schema_of(group, values.get(group))) for group in SCHEMAS_BY_KIND}
    typed = OmegaConf.merge(OmegaConf.structured(RunConfig), kinds)
    assert isinstance(typed, DictConfig)
    return typed


def _schema_of(group: str, settings: object) -> type[Any]:
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{group}: {settings!r} is no group of settings")
    kind, schemas = settings.get("kind"), SCHEMAS_BY_KIND[group]
    if not isinstance(kind, str) or kind not in schemas:
        raise not_an_option(f"{group}.kind", kind, schemas)
    return schemas[kind]


def _problem(error: OmegaConfBaseException) -> str:
    place = f"{error.full_key}: " if error.full_key else ""
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
        return f"{place}no such setting"
    return place + str(error.msg or error).splitlines()[0]
