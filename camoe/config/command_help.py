"""The text of `python run.py --help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

from camoe.config.option_catalog import REPOSITORY, first_comment, groups, mechanisms, options
from camoe.config.run import RunConfig

OPENING = """\
CaMoE: an RWKV-7 language model whose channel mixing is a market of experts.

  python run.py [GROUP=OPTION ...] [SETTING=VALUE ...]     one run
  python run.py -m SETTING=A,B,C ...                       one run for each value; -m +sweeps=NAME for a whole study
  python run.py --cfg job [-p GROUP]                       show the composed settings and stop
"""
EXAMPLES = """\
Examples
  python run.py                                            the tiny preset, on the Python standard library's source
  python run.py model=pilot economy=off seed=3             a published preset without its market
  python run.py -m router.top_k=1,2 seed=0,1,2             six runs
  python run.py -m economy=calibrated economy/congestion=none,sign,pid hydra.launcher.n_jobs=2
  python run.py job=status sweep=smoke                     how the runs of a sweep stand
"""
WIDTH = 28


def command_help(choices: Mapping[str, str]) -> str:
    """Every group and option in a line, `*` before those in `choices`; then the values of no group, and examples."""
    lines = [OPENING, "Groups and their options (* is chosen now)"]
    lines += _options(groups(), choices)
    lines += ["", "Mechanisms of economy=calibrated, each a group of its own", *_options(mechanisms(), choices)]
    lines += ["", "Studies, run by -m +sweeps=NAME; the file says more", *_studies()]
    lines += ["", "Values of no group (the model preset sets some)", *_values(RunConfig, ""), "", EXAMPLES]
    return "\n".join(lines)


def _options(groups: Mapping[str, str], choices: Mapping[str, str]) -> list[str]:
    lines = []
    for group, meaning in groups.items():
        lines.append(f"  {group:{WIDTH}} {meaning}")
        for option, comment in options(group).items():
            mark = "*" if choices.get(group) == option else " "
            lines.append(f"  {mark} {option:{WIDTH - 2}} {comment}")
    return lines


def _studies() -> list[str]:
    files = sorted((REPOSITORY / "sweeps").glob("*.yaml"))
    return [f"    {path.stem:{WIDTH - 2}} {first_comment(path)}" for path in files]


def _values(schema: type[Any], prefix: str) -> list[str]:
    lines = []
    for definition in fields(schema):
        if schema is RunConfig and definition.name in groups():
            continue
        nested = definition.default_factory
        if isinstance(nested, type) and is_dataclass(nested):
            lines += _values(nested, f"{definition.name}.")
        else:
            lines.append(f"  {prefix + definition.name:{WIDTH}} {definition.metadata['help']} ({_default(definition)})")
    return lines


def _default(definition: Field[Any]) -> str:
    if definition.default is None:
        return "null"
    return str(definition.default).lower() if isinstance(definition.default, bool) else str(definition.default)
