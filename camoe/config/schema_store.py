"""Makes our schema, our search path and our help known to Hydra; done once per process, before it composes."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from camoe.config.calibrated import CalibratedConfig
from camoe.config.economy import EconomyConfig, V18Config, V21Config
from camoe.config.learned_router import LEARNED_SCHEMAS
from camoe.config.router import WITHOUT_GATE, RouterConfig
from camoe.config.run import RunConfig
from camoe.config.search_path import SweepFolder, SweepFolderOnSearchPath
from camoe.config.slurm import SlurmConfig
from camoe.config.sweep import LAUNCHERS, SWEEPERS

ECONOMY_SCHEMAS: dict[str, type[EconomyConfig]] = {
    "off": EconomyConfig,
    "v18": V18Config,
    "v21": V21Config,
    "calibrated": CalibratedConfig,
}
ROUTER_SCHEMAS: dict[str, type[RouterConfig]] = {
    "dual_path": RouterConfig,
    "market_only": RouterConfig,
    **LEARNED_SCHEMAS,
    **dict.fromkeys(WITHOUT_GATE, RouterConfig),
}
SCHEMAS_BY_KIND: dict[str, dict[str, type[Any]]] = {"economy": {**ECONOMY_SCHEMAS}, "router": {**ROUTER_SCHEMAS}}
"""Of every group whose settings depend on its `kind`."""


def register_with_hydra() -> None:
    """Idempotent: names registered before are replaced by the same."""
    store = ConfigStore.instance()
    store.store(name="run_config", node=RunConfig, provider="camoe")
    for group, by_kind in SCHEMAS_BY_KIND.items():
        for kind, schema in by_kind.items():
            store.store(group=group, name=f"_{kind}", node=schema, provider="camoe")
    for group, schemas in (("hydra/sweeper", SWEEPERS), ("hydra/launcher", {**LAUNCHERS, "slurm": SlurmConfig})):
        for name, plugin in schemas.items():
            store.store(group=group, name=name, node=plugin, provider="camoe")
    Plugins.instance().register(SweepFolder)
    Plugins.instance().register(SweepFolderOnSearchPath)
    OmegaConf.register_new_resolver("command_help", _command_help, replace=True)


def _command_help(*, _root_: DictConfig) -> str:
    from camoe.config.command_help import command_help

    # Hydra fills $NAME in its help template, so a dollar of ours is written twice
    return command_help(_root_.hydra.runtime.choices).replace("$", "$$")
