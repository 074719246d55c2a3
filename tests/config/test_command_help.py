"""The help text names everything that can be chosen."""

from __future__ import annotations

from dataclasses import fields

from camoe.config.command_help import command_help
from camoe.config.evaluation import EvaluationConfig
from camoe.config.option_catalog import groups, options
from camoe.config.parallel import ParallelConfig
from camoe.config.run import RunConfig, SeedsConfig
from camoe.config.train import TrainConfig

TEXT = command_help({"model": "pilot", "economy": "off"})
LINES = [line.split() for line in TEXT.splitlines()]
NESTED = {"train", "seeds", "analysis", "evaluation", "parallel"}


def test_every_group_and_option_in_a_line() -> None:
    for group, meaning in groups().items():
        assert [group, *meaning.split()] in LINES
        for option, comment in options(group).items():
            marks = ["*"] if (group, option) in (("model", "pilot"), ("economy", "off")) else []
            assert [*marks, option, *comment.split()] in LINES


def test_values_of_no_group() -> None:
    first_words = {line[0] for line in LINES if line}
    assert {f"train.{field.name}" for field in fields(TrainConfig)} <= first_words
    assert {f"evaluation.{field.name}" for field in fields(EvaluationConfig)} <= first_words
    assert {f"seeds.{field.name}" for field in fields(SeedsConfig)} <= first_words
    assert {f"parallel.{field.name}" for field in fields(ParallelConfig)} <= first_words
    assert {field.name for field in fields(RunConfig)} - NESTED <= first_words


def test_examples() -> None:
    _, _, examples = TEXT.partition("Examples\n")
    assert [line.split()[:2] for line in examples.strip().splitlines()] == [["python", "run.py"]] * 5
