"""Settings that the user chose and that change nothing in the chosen composition."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from camoe.config.data import MIXTURES
from camoe.config.idle_rules import RULES
from camoe.config.phase import PhaseConfig
from camoe.config.restart_cycles import unfinished_cycle
from camoe.config.run import RunConfig
from camoe.config.text_source import OF_DATA_SETS


def without_effect(config: RunConfig, chosen: Iterable[str]) -> list[str]:
    """One line for each setting in `chosen` (dotted paths) that changes nothing, and each phase that cannot learn.

    Also for a learning rate whose last cycle does not come to its end.
    """
    chosen = list(chosen)
    idle_rules = [rule for rule in RULES if rule.idle(config)]
    lines = [
        f"{setting} has no effect: {rule.why}"
        for setting in chosen
        for rule in idle_rules
        if any(fnmatchcase(setting, pattern) for pattern in rule.settings)
    ]
    cycle = unfinished_cycle(config.optimizer, config.phase.total_steps)
    return [
        *lines,
        *_skipped_phase_settings(config, chosen),
        *_betas_without_pairs(config, chosen),
        *_settings_of_sources(config, chosen),
        *_phases_that_cannot_learn(config),
        *([cycle] if cycle else []),
    ]


def _skipped_phase_settings(config: RunConfig, chosen: list[str]) -> list[str]:
    skipped = [name for name, phase in config.phase.schedule.items() if not phase.steps]
    return [
        f"{setting} has no effect: phase.schedule.{name}.steps is 0"
        for name in skipped
        for setting in chosen
        if setting.startswith(f"phase.schedule.{name}.") and not setting.endswith(".steps")
    ]


def _betas_without_pairs(config: RunConfig, chosen: list[str]) -> list[str]:
    return [
        f"{setting} has no effect: phase.schedule.{name}.objective is not preference"
        for name, phase in config.phase.schedule.items()
        for setting in chosen
        if setting == f"phase.schedule.{name}.preference_beta" and phase.steps and phase.objective != "preference"
    ]


def _settings_of_sources(config: RunConfig, chosen: list[str]) -> list[str]:
    lines = []
    for profile, mixture in MIXTURES.items():
        sources = config.data.named(profile)
        for name, source in sources.items():
            idle = {"weight": f"data.{mixture} has no other source"} if len(sources) == 1 else {}
            idle |= dict.fromkeys(OF_DATA_SETS, "its path is read in place of a data set") if source.path else {}
            idle |= {"text_field": "its records are dialogues"} if profile != "pretrain" else {}
            lines += [
                f"{setting} has no effect: {why}"
                for own, why in idle.items()
                if (setting := f"data.{mixture}.{name}.{own}") in chosen
            ]
    return lines


def _phases_that_cannot_learn(config: RunConfig) -> list[str]:
    has_prefix = config.experts.transformer_prefix and config.router.kind != "dense"
    absent = {
        "rwkv_experts": not config.experts.cheap_learn,
        "transformer_experts": not has_prefix,
        "bridge": not has_prefix,
        "critic": config.economy.kind == "off",
        "router_gate": not config.router.learns,
    }

    def learns(phase: PhaseConfig) -> bool:
        return any(rate for group, rate in phase.multipliers().items() if not absent.get(group))

    return [
        f"phase.schedule.{name} has no effect: this run has nothing that it would train (group experts, economy)"
        for name, phase in config.phase.schedule.items()
        if phase.steps and not learns(phase)
    ]
