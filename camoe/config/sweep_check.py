"""A multirun is refused before its first arm starts when any arm would be refused."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from camoe.config.command_line import refuse
from camoe.config.command_record import overrides_of
from camoe.config.group_choice import check_choices
from camoe.config.post_mortem import COMPOSITION_ERRORS, explain, one_line
from camoe.config.refusal import ConfigError
from camoe.config.resolve import resolve

LARGEST_CHECK = 50  # arms; composing one takes about 0.1 s


class CheckEveryArm(Callback):
    """Hydra's callback; nothing is on disk yet when it is called."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuses, and ends the process, when an arm is wrong."""
        if not str(config.hydra.sweeper._target_).endswith(f".{BasicSweeper.__name__}"):
            return  # other sweepers choose their arms as results come in
        try:
            arms = arms_of(config)
        except COMPOSITION_ERRORS as error:
            refuse(one_line(error))
        for number, arm in enumerate(arms[:LARGEST_CHECK], start=1):
            try:
                check_arm(config, arm)
            except ConfigError as refusal:
                refuse(f"arm {number} of {len(arms)} ({' '.join(arm)}): {refusal}")
        if len(arms) > LARGEST_CHECK:
            print(f"checked the first {LARGEST_CHECK} of {len(arms)} arms; the others as they start", file=sys.stderr)


def arms_of(config: DictConfig) -> list[list[str]]:
    """Overrides of each arm: the sweep file's parameters, then the command line's."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*params, *overrides_of(config.hydra)])
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def check_arm(config: DictConfig, arm: list[str]) -> None:
    """Composes and resolves one arm; raises `ConfigError`."""
    loader = GlobalHydra.instance().config_loader()
    try:
        composed = loader.load_sweep_config(config, arm)
    except COMPOSITION_ERRORS as error:
        arguments = Namespace(
            overrides=arm,
            multirun=False,
            config_name=config.hydra.job.config_name,
            config_dir=next(
                (s.path for s in config.hydra.runtime.config_sources if s.provider == "command-line"), None
            ),
            config_path=None,
        )
        raise ConfigError(explain(error, arguments)) from error
    check_choices(composed.hydra.runtime.choices, overrides_of(config.hydra))
    with open_dict(composed):
        del composed["hydra"]
    resolve(composed)
