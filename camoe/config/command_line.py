"""Around `@hydra.main`: typed settings for the job, and one line on stderr for every mistake of the user's."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from camoe.config.command_record import CommandRecord, current_command, overrides_of, setting_name
from camoe.config.group_choice import check_choices
from camoe.config.named_paths import check_named_paths
from camoe.config.refusal import EXIT_CODE, ConfigError
from camoe.config.resolve import resolve
from camoe.config.run import RunConfig
from camoe.config.schema_store import register_with_hydra
from camoe.config.without_effect import without_effect

INTERRUPTED = 130  # what a shell reports after Ctrl-C


def refuse_in_one_line(main: Callable[[], Any]) -> Callable[[], None]:
    """Wraps Hydra's main: a mistake of the user's ends in one line and exit code 2, a bug of ours in its traceback."""

    @functools.wraps(main)
    def guarded() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
        register_with_hydra()
        try:
            arguments = parse_arguments(sys.argv[1:])
        except ConfigError as refusal:
            refuse(str(refusal))
        try:
            main()
        except ConfigError as refusal:
            refuse(str(refusal))
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except SystemExit as ending:  # Hydra's own refusal of a flag, already in one line
            sys.exit(EXIT_CODE if ending.code == 1 and raised_while_composing(ending) else ending.code)
        except Exception as error:
            if not raised_while_composing(error):
                raise
            from camoe.config.post_mortem import explain

            refuse(explain(error, arguments))

    return guarded


def typed(task: Callable[[RunConfig, CommandRecord], Any]) -> Callable[[DictConfig], Any]:
    """Gives the task a checked `RunConfig` and the command it came from, in place of Hydra's dictionary."""

    @functools.wraps(task)
    def run_typed(cfg: DictConfig) -> Any:
        hydra = cast(DictConfig, HydraConfig.get())
        overrides = overrides_of(hydra)
        try:
            check_choices(hydra.runtime.choices, overrides)
            config = resolve(cfg)
            check_named_paths(config)
            chosen = [setting_name(override) for override in overrides]
            warnings = tuple(without_effect(config, chosen))
            for line in warnings:
                print(f"warning: {line}", file=sys.stderr)
            return task(config, current_command(warnings))
        except ConfigError as refusal:
            if hydra.mode == RunMode.MULTIRUN:
                raise  # this arm fails, the others go on
            refuse(str(refusal))  # here, because Hydra would add a line of its own

    return run_typed


def refuse(message: str) -> NoReturn:
    """Ends the process with one line on stderr."""
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(EXIT_CODE)


def parse_arguments(argv: Sequence[str]) -> Namespace:
    """The flags and overrides as Hydra will read them; raises `ConfigError` where Hydra would print its usage."""
    parser: ArgumentParser = get_args_parser()

    def fail(message: str) -> NoReturn:
        hint = "keep all overrides together, with flags before or after them" if "=" in message else "see --help"
        raise ConfigError(f"command line: {message}; {hint}")

    parser.error = fail  # type: ignore[method-assign]
    arguments = parser.parse_args(argv)
    group, _, option = str(arguments.config_name or "").rpartition("/")
    if group:
        raise ConfigError(
            f"--config-name: '{arguments.config_name}' is no configuration of a run; write {group}={option}"
            if not group.startswith(".")
            else f"--config-name: '{arguments.config_name}' is a path; give its folder as --config-dir"
        )
    return arguments


def raised_while_composing(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it over the command line or a YAML file; false for our code and the job's."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if any(frame.f_code.co_name == "run_typed" for frame, _ in frames):
        return False
    packages = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in frames]
    deepest = next((name for name in reversed(packages) if name in ("hydra", "omegaconf", "camoe", "submitit")), "")
    return deepest in ("hydra", "omegaconf")
