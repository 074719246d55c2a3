"""python -m analysis compare: from what the user names to a comparison on the terminal and in files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from analysis.compare import Study, compare
from analysis.comparison_files import log_comparison, save_comparison
from analysis.comparison_markdown import write_into_page
from analysis.comparison_report import write_comparison_report
from analysis.comparison_tables import comparison_page
from analysis.runs import load_runs, runs_of_sweep
from analysis.sweep_file import analysis_of, read_sweep
from camoe.config import ConfigError
from camoe.config.analysis import AnalysisConfig
from camoe.tracking.shown_path import shown_path

WIDTH = 150  # where the output is no terminal
OPTIONS = {  # of the command line -> setting of the plan
    "metric": ("primary_metric", str),
    "margin": ("margin", float),
    "margin_unit": ("margin_unit", str),
    "reference": ("reference", str),
    "alpha": ("alpha", float),
}


def comparison(options: argparse.Namespace) -> None:
    """Arms against a reference: paired differences with intervals, balance, cost, and whether the plan was followed."""
    study, plan = _study(options)
    found = compare(study, plan, strict=options.strict)
    page = write_into_page(found, options.page) if options.page else []
    Console(width=None if sys.stdout.isatty() else WIDTH).print(comparison_page(found))
    for path in [*save_comparison(found), write_comparison_report(found), *page]:
        print(shown_path(path))
    if not options.no_log and (line := log_comparison(found)):
        print(line)


def add_comparison(commands: Any) -> None:
    """The command's own arguments."""
    parser = commands.add_parser("compare", help=comparison.__doc__, description=comparison.__doc__)
    parser.set_defaults(command=comparison)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="run folders, or folders of some")
    parser.add_argument("--sweep", metavar="NAME", help="a sweep of outputs/sweeps")
    parser.add_argument("--experiment", metavar="NAME", help="an MLflow experiment")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), metavar="DIR", help="where runs are")
    helps = {definition.name: definition.metadata["help"] for definition in fields(AnalysisConfig)}
    for option, (setting, kind) in OPTIONS.items():
        flag = f"--{option.replace('_', '-')}"
        parser.add_argument(flag, type=kind, metavar=option.upper(), help=f"{helps[setting]} (else as planned)")
    parser.add_argument("--strict", action="store_true", help="refuse everything when any arm is not comparable")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the files go; else beside the sweep")
    parser.add_argument(
        "--page", type=Path, metavar="FILE.md", help="Markdown page whose marked block it fills as well"
    )
    parser.add_argument("--no-log", action="store_true", help="keep the result out of MLflow")


def _study(options: argparse.Namespace) -> tuple[Study, AnalysisConfig]:
    named = [bool(options.sweep), bool(options.experiment), bool(options.folders)]
    if sum(named) != 1:
        raise ConfigError("compare: give one of --sweep NAME, --experiment NAME, or run folders")
    if options.sweep:
        sweep = read_sweep(options.sweep, options.output_dir)
        plan = _changed(sweep.analysis, options)
        runs = runs_of_sweep(sweep, options.output_dir, plan.last_evaluations)
        return Study(options.sweep, runs, options.out or sweep.folder / "comparison", sweep), plan
    name, load = _loose(options)
    runs = load(AnalysisConfig.last_evaluations)
    plan = _changed(_plan_of(runs), options)
    if plan.last_evaluations != AnalysisConfig.last_evaluations:
        runs = load(plan.last_evaluations)
    return Study(name, runs, options.out or options.output_dir / "comparisons" / name), plan


def _loose(options: argparse.Namespace) -> tuple[str, Callable[[int], pd.DataFrame]]:
    """Name and reader of runs that are no sweep."""
    place = {"experiment": options.experiment, "folders": options.folders or None}

    def load(last: int) -> pd.DataFrame:
        return load_runs(output_dir=options.output_dir, last_evaluations=last, **place)

    if options.experiment:
        return options.experiment, load
    first, *others = [Path(os.path.abspath(folder)).name for folder in options.folders]
    return (f"{first}-and-{len(others)}-more" if others else first), load


def _plan_of(runs: pd.DataFrame) -> AnalysisConfig:
    """What the runs' own configurations say where all of them agree; else the defaults."""
    values = {}
    for definition in fields(AnalysisConfig):
        column = f"config.analysis.{definition.name}"
        found = runs[column].drop_duplicates().tolist() if column in runs else []
        if len(found) == 1 and found[0] == found[0] and found[0] is not None:
            values[definition.name] = found[0]
    return analysis_of(values, "these runs")


def _changed(plan: AnalysisConfig, options: argparse.Namespace) -> AnalysisConfig:
    """With what the command line says."""
    given = {setting: getattr(options, option) for option, (setting, _) in OPTIONS.items()}
    changes = {setting: value for setting, value in given.items() if value is not None}
    analysis_of(changes, "command line")  # refuses values outside their limits
    return replace(plan, **changes)
