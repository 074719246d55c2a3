"""Arms composed together are what each would be alone, and are refused by name."""

from __future__ import annotations

import pytest
from compositions import run_config
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from camoe.config import ConfigError
from camoe.config.arm_composition import ComposedArm, compose_arms

pytestmark = pytest.mark.usefixtures("hydra")


def composed(*arms: list[str]) -> list[ComposedArm]:
    config = compose(config_name="config", return_hydra_config=True)
    assert isinstance(config, DictConfig)
    return compose_arms(config, GlobalHydra.instance().config_loader(), arms)


def test_seeds_set_afterwards_are_seeds_composed() -> None:
    arms = [[f"economy={economy}", f"seed={seed}", "seeds.data=7"] for seed in (1, 2) for economy in ("off", "v21")]
    for arm, found in zip(arms, composed(*arms), strict=True):
        assert found.config == run_config(*arm)
        assert (found.config.seeds.init, found.config.seeds.data) == (found.config.seed, 7)
        assert found.choices["economy"] == arm[0].partition("=")[2]


def test_a_wrong_arm_is_named() -> None:
    with pytest.raises(ConfigError, match=r"arm 2 of 2 \(seed=a\): seed: 'a' is not an integer"):
        composed(["seed=1"], ["seed=a"])
    with pytest.raises(ConfigError, match=r"arm 1 of 1 \(model=pilott\): .*did you mean pilot"):
        composed(["model=pilott"])
    with pytest.raises(ConfigError, match=r"seed: -1 is not allowed"):
        composed(["seed=-1"])


def test_settings_without_effect_are_found_by_arm() -> None:
    first, second = composed(["experts=4r0t", "model.prefix_len=3"], ["model.prefix_len=3"])
    assert "model.prefix_len has no effect" in first.warnings[0]
    assert not second.warnings
