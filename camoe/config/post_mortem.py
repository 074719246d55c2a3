"""After Hydra failed to compose: which word of the command line is to blame, said in one line.

Runs only on failure, so that a correct command line pays nothing for it.
"""

from __future__ import annotations

import traceback
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import Overrides
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError
from yaml import YAMLError

from camoe.config.data import MIXTURES
from camoe.config.group_choice import check_group_override, check_mechanism, visible
from camoe.config.option_catalog import CONF
from camoe.config.refusal import ConfigError, nearest, no_such_setting
from camoe.config.unknown_setting import unknown_setting
from camoe.config.wrong_type import NOUNS, annotation_of, shown, wrong_type

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, AssertionError)
ADDED_WHOLE = {
    "phase.schedule": ("phase", "steps: 100"),
    **{f"data.{mixture}": ("source", "path: FILE") for mixture in MIXTURES.values()},
}
"""Dictionaries that take names of the user's own: what an entry is, and an example."""


def explain(error: Exception, arguments: Namespace) -> str:
    """The refusal of the first override that does not fit; when none is to blame, `error` itself in one line."""
    try:
        _check_files(arguments)
        overrides = [parse(text) for text in arguments.overrides]
        if not arguments.multirun:
            _check_no_sweep(overrides)
        _check_groups(overrides, _loader(arguments))
        _check_mechanisms(overrides, error)
        _check_failed_override(error)
    except ConfigError as refusal:
        return str(refusal)
    return one_line(error)  # no override is to blame; a YAML file of the user's may be


def parse(text: str) -> Override:
    """Hydra's reading of one override; refuses what is none."""
    try:
        override = OverridesParser.create().parse_overrides([text])[0]
        if override.key_or_group:
            return override
    except OverrideParseException:
        if "=" not in text and not text.startswith("~"):
            raise ConfigError(f"'{text}': not an override; write SETTING=VALUE or GROUP=OPTION, see --help") from None
    raise ConfigError(
        f"'{text}': cannot be read as SETTING=VALUE; quote a value with special characters, as in \"job.prompt='a: b'\""
    )


def one_line(error: BaseException) -> str:
    """What an exception and its cause say, joined into one line without Hydra's listings."""
    said = [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()]
    kept: list[str] = []
    for line in (line.strip() for line in said):
        if line.startswith("Config search path"):
            break
        if line and not line.startswith(("object_type", "reference_type")) and line not in kept:
            kept.append(line)
    return "; ".join(kept).replace(":; ", ": ") or type(error).__name__


def _check_files(arguments: Namespace) -> None:
    folders = [Path(arguments.config_path or CONF), *([Path(arguments.config_dir)] if arguments.config_dir else [])]
    for flag, folder in zip(("--config-path", "--config-dir"), folders, strict=False):
        if not folder.is_dir() and "://" not in str(folder):
            raise ConfigError(f"{flag}: no folder '{folder}'")
    name = arguments.config_name
    if name and not any((folder / name).with_suffix(".yaml").is_file() for folder in folders):
        near = nearest(name, [path.stem for folder in folders for path in folder.glob("*.yaml")])
        hint = f"; did you mean {near}?" if near else f" in {', '.join(str(folder) for folder in folders)}"
        raise ConfigError(f"--config-name: no configuration '{name}'{hint}")


def _check_no_sweep(overrides: Sequence[Override]) -> None:
    for override in overrides:
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.key_or_group}: several values ({override.get_value_string()}) but one run; "
                "add -m to run each, or write [a,b] for a list"
            )


def _loader(arguments: Namespace) -> ConfigLoaderImpl:
    search_path = create_config_search_path(str(Path(arguments.config_path or CONF).resolve()))
    if arguments.config_dir:
        search_path.prepend(
            provider="command-line",
            path=f"file://{Path(arguments.config_dir).resolve()}",
            anchor=SearchPathQuery(provider="schema"),
        )
    return ConfigLoaderImpl(config_search_path=search_path)


def _check_groups(overrides: Sequence[Override], loader: ConfigLoaderImpl) -> None:
    for override in overrides:
        options = visible(loader.get_group_options(override.key_or_group))
        if options and not override.is_sweep_override() and not isinstance(override.value(), dict):
            check_group_override(override, options)


def _check_mechanisms(overrides: Sequence[Override], error: Exception) -> None:
    """Refuses mechanisms of an economy that is not chosen, which Hydra found no place for."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is Overrides.ensure_overrides_used.__code__:
            for override in overrides:
                check_mechanism(override, frame.f_locals["self"].known_choices.get("economy"))


def _check_failed_override(error: Exception) -> None:
    """Refuses the value that Hydra was setting when it failed.

    Read from the frame that raised, which holds the composition so far: composing anew would double the user's wait.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is ConfigLoaderImpl._apply_overrides_to_config.__code__:
            override, cfg = frame.f_locals["override"], frame.f_locals["cfg"]
            _check_known(override, cfg)
            raise _misfit(override, cfg, error)


def _check_known(override: Override, cfg: DictConfig) -> None:
    """Refuses the first part of a dotted name that the composition does not have."""
    node, path = cfg, ""
    for part in override.key_or_group.split("."):
        if not isinstance(node, DictConfig):
            raise ConfigError(f"{override.key_or_group}: no such setting; {path} is a value and has no parts")
        known = [str(key) for key in node if key != "hydra"]
        if part not in node:
            where = f"{path}.{part}" if path else part
            if (override.is_add() or override.is_force_add()) and path in ADDED_WHOLE:
                raise _to_add_whole(override, path, part)
            raise unknown_setting(where, known)
        node, path = node._get_node(part), f"{path}.{part}" if path else part  # type: ignore[assignment]


def _to_add_whole(override: Override, path: str, name: str) -> ConfigError:
    what, example = ADDED_WHOLE[path]
    return ConfigError(f"{override.key_or_group}: add a {what} whole, as in '+{path}={{{name}: {{{example}}}}}'")


def _misfit(override: Override, cfg: DictConfig, error: Exception) -> ConfigError:
    """The refusal of an override whose name is known."""
    key, value = override.key_or_group, override.value()
    if key in ADDED_WHOLE and isinstance(value, dict) and value and not override.is_add():
        return _to_add_whole(override, key, str(next(iter(value))))
    parent, _, name = key.rpartition(".")
    annotation = annotation_of(OmegaConf.select(cfg, parent) if parent else cfg, name)
    if override.is_delete():
        return ConfigError(f"~{key}: cannot be deleted; give it a value instead")
    if override.is_add() and not isinstance(value, (dict, list)):
        return ConfigError(f"{key}: is there already; write {(override.input_line or '').lstrip('+')}")
    if value is None and annotation is None:
        return ConfigError(f"{key}: null is not a group of settings")
    if annotation is None or (isinstance(value, dict) and annotation not in NOUNS):
        cause = error.__cause__ or error
        if (inner := _misfit_inside(cause, override.value())) is not None:
            return inner
        return ConfigError(f"{getattr(cause, 'full_key', None) or key}: {str(cause).splitlines()[0]}")
    return wrong_type(key, value, annotation)


def _misfit_inside(cause: BaseException, given: Any) -> ConfigError | None:
    """The refusal of what a group given whole has in it; None where the cause does not say."""
    path, schema = getattr(cause, "full_key", None), getattr(cause, "object_type", None)
    if isinstance(cause, ConfigKeyError) and is_dataclass(schema):
        return no_such_setting(str(path), [field.name for field in fields(schema)])
    value = getattr(cause, "value", None)
    if isinstance(cause, ValidationError) and isinstance(given, dict) and path and "subclass" in str(cause):
        return ConfigError(
            f"{path}: {shown(given.get(str(path).rpartition('.')[2], value))} is not a group of settings"
        )
    return None
