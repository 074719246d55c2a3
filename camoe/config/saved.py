"""The configuration of an earlier run, read back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from camoe.config.refusal import ConfigError
from camoe.config.resolve import resolve
from camoe.config.run import RunConfig
from camoe.config.schema_store import ECONOMY_SCHEMAS


def saved_run(values: Mapping[str, Any], where: str) -> RunConfig:
    """The typed configuration that `config.yaml` of a run folder holds; `where` names the file in refusals."""
    kind = values.get("economy", {}).get("kind")
    if kind not in ECONOMY_SCHEMAS:
        raise ConfigError(f"{where}: economy.kind is {kind!r}; this version knows {', '.join(sorted(ECONOMY_SCHEMAS))}")
    typed = OmegaConf.merge(OmegaConf.structured(RunConfig), {"economy": OmegaConf.structured(ECONOMY_SCHEMAS[kind])})
    try:
        config = OmegaConf.merge(typed, dict(values))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: not a configuration of this version ({str(error).splitlines()[0]})") from error
    assert isinstance(config, DictConfig)
    return resolve(config)
