"""Composing and checking every run of a multirun before the first one starts."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from camoe.config.command_record import overrides_of, own_choices, setting_name
from camoe.config.group_choice import check_choices
from camoe.config.named_paths import check_named_paths
from camoe.config.post_mortem import COMPOSITION_ERRORS, explain
from camoe.config.refusal import ConfigError
from camoe.config.resolve import resolve
from camoe.config.run import RunConfig
from camoe.config.without_effect import without_effect

SEEDS = ("seed", "seeds.init", "seeds.data", "seeds.router_noise")


@dataclass(frozen=True)
class ComposedArm:
    """One run of a multirun: what was asked for, and the checked configuration that came of it."""

    overrides: tuple[str, ...]
    config: RunConfig
    choices: dict[str, str]
    warnings: tuple[str, ...]


def compose_arms(config: DictConfig, loader: ConfigLoader, arms: Sequence[Sequence[str]]) -> list[ComposedArm]:
    """Every arm, given by its overrides, under the multirun's own composition `config`.

    Arms that differ in their seeds alone are composed once, which takes 0.2 s, and get their seeds afterwards. Raises
    ConfigError that names the arm.
    """
    compositions: dict[tuple[str, ...], DictConfig] = {}
    composed = []
    for number, arm in enumerate(arms, start=1):
        seedless = tuple(override for override in arm if setting_name(override) not in SEEDS)
        try:
            if seedless not in compositions:
                compositions[seedless] = _compose(config, loader, arm)
            composed.append(_resolved(_with_seeds(compositions[seedless], arm), arm, overrides_of(config.hydra)))
        except ConfigError as refusal:
            raise ConfigError(f"arm {number} of {len(arms)} ({' '.join(arm)}): {refusal}") from refusal
    return composed


def _compose(config: DictConfig, loader: ConfigLoader, arm: Sequence[str]) -> DictConfig:
    try:
        return loader.load_sweep_config(config, list(arm))
    except COMPOSITION_ERRORS as error:
        sources = config.hydra.runtime.config_sources
        arguments = Namespace(
            overrides=list(arm),
            multirun=False,
            config_name=config.hydra.job.config_name,
            config_dir=next((source.path for source in sources if source.provider == "command-line"), None),
            config_path=None,
        )
        raise ConfigError(explain(error, arguments)) from error


def _with_seeds(composition: DictConfig, arm: Sequence[str]) -> DictConfig:
    """A copy with the arm's seeds, which are plain values and so can be set after composition."""
    seeded = composition.copy()
    for override in OverridesParser.create().parse_overrides([text for text in arm if setting_name(text) in SEEDS]):
        try:
            OmegaConf.update(seeded, override.key_or_group, override.value())
        except ValueError:
            raise ConfigError(
                f"{override.key_or_group}: '{override.get_value_element_as_str()}' is not an integer"
            ) from None
    return seeded


def _resolved(composition: DictConfig, arm: Sequence[str], command_line: Sequence[str]) -> ComposedArm:
    choices = own_choices(composition.hydra)
    for overrides in (command_line, arm):
        check_choices(choices, overrides)
    with open_dict(composition):
        del composition["hydra"]
    config = resolve(composition)
    check_named_paths(config)
    return ComposedArm(tuple(arm), config, choices, tuple(without_effect(config, [setting_name(text) for text in arm])))
