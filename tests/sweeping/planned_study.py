"""A study planned as run.py plans it, in this process."""

from __future__ import annotations

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from camoe.config.option_catalog import CONF
from camoe.config.schema_store import register_with_hydra
from camoe.sweeping.sweep import Sweep, plan_sweep


def planned(name: str, *more: str) -> Sweep:
    """The study with more overrides of the command line."""
    register_with_hydra()
    overrides = [f"+sweeps={name}", *more]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)
        sweeper = OmegaConf.to_container(config.hydra.sweeper)
        assert isinstance(sweeper, dict)
        return plan_sweep(config, loader, sweeper["arms"], sweeper["params"], overrides)
