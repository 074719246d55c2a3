"""Resources of a SLURM job that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from camoe.config import ConfigError
from camoe.config.slurm import SlurmConfig


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nodes": 0}, "hydra.launcher.nodes: 0 is not allowed; must be at least 1"),
        ({"mem_gb": 0.0}, "hydra.launcher.mem_gb: 0.0 is not allowed; must be above 0"),
        ({"timeout_min": 1, "signal_delay_s": 60}, "hydra.launcher.signal_delay_s: 60 leaves nothing of"),
        ({"sbatch": {"open_mode": "append"}}, "hydra.launcher.sbatch.open_mode: is ours to set"),
    ],
)
def test_is_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        SlurmConfig(**settings).check()
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


def test_the_defaults_are_allowed() -> None:
    SlurmConfig().check()
