"""Expanding arms, parameters and the command line into runs."""

from __future__ import annotations

import pytest

from camoe.config import ConfigError
from camoe.sweeping.arms import Arm, expand

ARMS = {"gate": ["economy=off"], "market": ["economy=v21", "router.top_k=2"]}


def labels(arms: list[Arm]) -> list[str]:
    return [arm.label for arm in arms]


def test_arms_of_one_seed_stand_together() -> None:
    runs = expand(ARMS, {"seed": "1,2"}, ["+sweeps=study"], unnamed="x")
    assert [(run.label, run.overrides) for run in runs] == [
        ("gate", ("economy=off", "seed=1", "+sweeps=study")),
        ("market", ("economy=v21", "router.top_k=2", "seed=1", "+sweeps=study")),
        ("gate", ("economy=off", "seed=2", "+sweeps=study")),
        ("market", ("economy=v21", "router.top_k=2", "seed=2", "+sweeps=study")),
    ]


def test_without_arms_the_label_is_what_is_swept_but_for_the_seeds() -> None:
    runs = expand({}, {}, ["router.top_k=1,2", "seed=1,2", "model=tiny", "seeds.data=7"], unnamed="x")
    assert labels(runs) == ["router.top_k=1", "router.top_k=1", "router.top_k=2", "router.top_k=2"]
    assert runs[1].overrides == ("router.top_k=1", "seed=2", "model=tiny", "seeds.data=7")


def test_seeds_alone_take_the_name_of_the_run() -> None:
    assert labels(expand({}, {}, ["seed=range(1,4)"], unnamed="camoe")) == ["camoe"] * 3


def test_swept_values_beside_arms_split_them() -> None:
    runs = expand(ARMS, {"seed": "1"}, ["train.base_lr=0.1,0.2"], unnamed="x")
    assert sorted(labels(runs)) == [
        "gate train.base_lr=0.1",
        "gate train.base_lr=0.2",
        "market train.base_lr=0.1",
        "market train.base_lr=0.2",
    ]


def test_the_command_line_wins_over_the_parameters_of_the_file() -> None:
    runs = expand(ARMS, {"seed": "1,2,3"}, ["seed=9"], unnamed="x")
    assert [run.overrides[-1] for run in runs] == ["seed=9", "seed=9"]


def test_some_arms_can_be_picked() -> None:
    runs = expand(ARMS, {"seed": "1,2"}, ["arm=market"], unnamed="x")
    assert labels([run for run in runs if run.wanted]) == ["market", "market"]
    assert labels(runs) == ["gate", "market"] * 2
    assert not any(text.startswith("arm=") for run in runs for text in run.overrides)


def test_quoted_values_survive() -> None:
    (run,) = expand({}, {}, ["job.prompt='a, b'"], unnamed="x")
    assert run.overrides == ("job.prompt='a, b'",)


@pytest.mark.parametrize(
    ("arms", "command_line", "said"),
    [
        ({"a": ["seed=1,2"]}, [], "arm a: seed=1,2 is several values"),
        (ARMS, ["economy=v18"], "economy=v18: arm gate sets economy=off"),
        (ARMS, ["arm=markt"], "no arm 'markt'; did you mean market"),
        ({}, ["train.base_lr=interval(0,1)"], "an interval has no list"),
    ],
)
def test_refusals(arms: dict[str, list[str]], command_line: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expand(arms, {}, command_line, unnamed="x")
