"""From a sweep file and a command line to the runs of a multirun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from camoe.config.arm_composition import SEEDS
from camoe.config.refusal import ConfigError, not_an_option


@dataclass(frozen=True)
class Arm:
    """One run of a sweep. The label names what is compared; runs of one label differ in their seeds alone.

    wanted: whether the command asks for it now; it may name some arms of a sweep only.
    """

    label: str
    overrides: tuple[str, ...]
    wanted: bool = True


def expand(
    arms: Mapping[str, Sequence[str]],
    params: Mapping[str, str],
    command_line: Sequence[str],
    *,
    unnamed: str,
    loader: ConfigLoader | None = None,
) -> list[Arm]:
    """Every arm with every combination of the swept values; the arms of one combination stand together.

    `params` are read like the command line, which wins over them. An override `arm=` says which of `arms` are wanted.
    `unnamed` is the label of runs that differ in their seeds alone. Raises ConfigError.
    """
    parser = OverridesParser.create(config_loader=loader)
    texts = [f"{key}={value}" for key, value in params.items()]
    overrides = {override.get_key_element(): override for override in parser.parse_overrides([*texts, *command_line])}
    wanted = _wanted(arms, overrides)
    named = arms or {"": ()}
    for name, own in named.items():
        _check_arm(name, parser.parse_overrides(list(own)), overrides)
    rows = [[_Part(text, override) for text in _alternatives(override)] for override in overrides.values()]
    return [
        Arm(_label(name, combination) or unnamed, (*own, *(part.text for part in combination)), name in wanted)
        for combination in product(*rows)
        for name, own in named.items()
    ]


@dataclass(frozen=True)
class _Part:
    """One value of one override."""

    text: str
    override: Override

    @property
    def tells_apart(self) -> bool:
        return self.override.is_sweep_override() and self.override.key_or_group not in SEEDS


def _wanted(arms: Mapping[str, Sequence[str]], overrides: dict[str, Override]) -> set[str]:
    """All arms, or those that `arm=` names, which is then used up."""
    choice = overrides.pop("arm", None) if arms else None
    if choice is None:
        return set(arms or [""])
    names = [text.partition("=")[2] for text in _alternatives(choice)]
    for name in names:
        if name not in arms:
            raise not_an_option("arm", name, arms, noun="arm")
    return set(names)


def _check_arm(name: str, own: Sequence[Override], shared: Mapping[str, Override]) -> None:
    for override in own:
        if override.is_sweep_override():
            raise ConfigError(f"arm {name}: {override.input_line} is several values; name an arm for each")
        for other in shared.values():
            if other.key_or_group == override.key_or_group:
                raise ConfigError(
                    f"{other.input_line}: arm {name} sets {override.input_line}; leave it out, or change the sweep file"
                )


def _alternatives(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line}: an interval has no list of values; write choice(...) or range(...)")
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _label(name: str, combination: Sequence[_Part]) -> str:
    return " ".join(filter(None, [name, *(part.text for part in combination if part.tells_apart)]))
