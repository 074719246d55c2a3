"""From Hydra's composition to a checked `RunConfig`, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from camoe.config.diagnosed import diagnosed
from camoe.config.refusal import ConfigError
from camoe.config.run import RunConfig
from camoe.config.unknown_setting import unknown_setting
from camoe.config.value_check import check_value


def resolve(cfg: DictConfig) -> RunConfig:
    """The typed configuration of a composition, with what its `diagnostics` fixes.

    Raises `ConfigError` for a name that `+` or `++` let through, a deleted or missing value, an interpolation that
    leads nowhere, a value outside its limits, and a broken rule between settings.
    """
    if OmegaConf.get_type(cfg) is not RunConfig:
        raise ConfigError("--config-name: this is no configuration of a run; its defaults list must include config")
    _check(cfg, "")
    config = OmegaConf.to_object(cfg)
    assert isinstance(config, RunConfig)
    return diagnosed(config)


def _check(node: DictConfig, prefix: str) -> None:
    definitions = _definitions(node)
    _check_names(node, prefix, definitions)
    values = {key: _read(node, key, f"{prefix}{key}") for key in map(str, node)}
    for key, value in values.items():
        if key in definitions:
            check_value(f"{prefix}{key}", definitions[key], value)
    for key, value in values.items():
        if isinstance(value, DictConfig):
            _check(value, f"{prefix}{key}.")


def _definitions(node: DictConfig) -> Mapping[str, Field[Any]]:
    schema = OmegaConf.get_type(node)
    return {field.name: field for field in fields(schema)} if is_dataclass(schema) else {}


def _check_names(node: DictConfig, prefix: str, definitions: Mapping[str, Field[Any]]) -> None:
    if not definitions:  # a dictionary, such as the phases: any name will do
        return
    present = [str(key) for key in node]  # `in` would resolve interpolations
    for key in present:
        if key not in definitions:
            raise unknown_setting(f"{prefix}{key}", definitions)
    for key in definitions:
        if key not in present:
            raise ConfigError(f"{prefix}{key}: deleted, but every run needs it; give it a value instead")


def _read(node: DictConfig, key: str, path: str) -> Any:
    try:
        return node[key]
    except MissingMandatoryValue:
        raise ConfigError(f"{path}: no value given (???)") from None
    except InterpolationResolutionError as error:
        raw = OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index, call-overload]
        raise ConfigError(f"{path}: {raw} leads nowhere; {_reason(error)}") from None


def _reason(error: OmegaConfBaseException) -> str:
    return str(error.msg or error).splitlines()[0]
