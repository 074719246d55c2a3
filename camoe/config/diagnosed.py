"""A run with what its `diagnostics` fixes."""

from __future__ import annotations

from dataclasses import replace

from camoe.config.diagnostics import SETS
from camoe.config.run import RunConfig


def diagnosed(config: RunConfig) -> RunConfig:
    """The run with the settings that its `diagnostics` fixes, whatever was asked for. Idempotent."""
    groups = {name: replace(getattr(config, name), **fixed) for name, fixed in SETS[config.diagnostics].items()}
    return replace(config, **groups) if groups else config
