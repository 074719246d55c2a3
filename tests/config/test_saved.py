"""A saved configuration comes back as it was; one that this version would not have saved is refused in one line."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from camoe.config import ConfigError
from camoe.config.saved import saved_run
from tests.small_run import small_run

GOOD = asdict(small_run())


@pytest.mark.parametrize("kind", ["off", "v18", "v21"])
def test_comes_back_as_it_was(kind: str) -> None:
    assert saved_run(asdict(small_run(kind)), "config.yaml") == small_run(kind)


def test_named_sources_come_back_as_they_were() -> None:
    sources = {"a": {"dataset": "x/y", "weight": 0.7}, "b": {"path": "b.jsonl", "weight": 0.3}}
    config = small_run(data={"source": "mixture", "sources": sources, "sft_sources": {"c": {"path": "/c.jsonl"}}})
    assert saved_run(asdict(config), "config.yaml") == config


def test_a_setting_that_an_older_version_lacked_takes_its_default() -> None:
    older = {**GOOD, "job": {"name": "train"}}
    assert saved_run(older, "config.yaml") == small_run()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"economy": None}, "economy: None is no group"),
        ({"economy": "v21"}, "economy: 'v21' is no group"),
        ({"economy": {"kind": ["v21"]}}, "economy.kind: no option"),
        ({"economy": {"kind": "v12"}}, "did you mean v21"),
        ({"economy": {**GOOD["economy"], "tax": 1}}, "economy.tax: no such setting"),
        ({"bogus": 1}, "bogus: no such setting"),
        ({"train": {"ctxlen": 3}}, "train.ctxlen: no such setting"),
        ({"train": None}, "train"),
        ({"train": [1]}, "TrainConfig"),
        ({"train": {"ctx_len": "long"}}, "train.ctx_len: Value 'long'"),
        ({"train": {"ctx_len": -1}}, "train.ctx_len: -1 is not allowed"),
        ({"train": {"ctx_len": "${nowhere}"}}, "train.ctx_len: ${nowhere} leads nowhere"),
        ({"phase": {"schedule": [1]}}, "not a configuration"),
        ({"phase": {"schedule": {"normal": {"stepz": 3}}}}, "phase.schedule.normal.stepz: no such setting"),
        ({"router": {"kind": "dual_path", "top_k": 99}}, "router.top_k: 99 winners"),
    ],
)
def test_what_this_version_would_not_have_saved_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        saved_run({**GOOD, **changes}, "runs/a/config.yaml")
    message = str(refusal.value)
    assert message.startswith("runs/a/config.yaml: ")
    assert problem in message
    assert "\n" not in message


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: economy"):
        saved_run({}, "config.yaml")
