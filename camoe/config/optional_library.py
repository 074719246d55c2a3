"""Libraries that only some options need: asked for before anything heavy is imported."""

from __future__ import annotations

from importlib.util import find_spec

from camoe.config.optimizer import OptimizerConfig
from camoe.config.refusal import ConfigError


def require_optimizer_library(config: OptimizerConfig) -> None:
    """ConfigError when the optimiser lives in a library that is not installed."""
    if config.kind == "adamw8bit" and find_spec("bitsandbytes") is None:
        raise ConfigError(
            "optimizer.kind: adamw8bit needs the package bitsandbytes, which is not installed; "
            "install it (pip install bitsandbytes) or use optimizer=adamw"
        )
