"""What the table says."""

from __future__ import annotations

import json

import pytest

from benchmarks.gate import GateFailed, require
from benchmarks.report import as_json, as_markdown, number
from benchmarks.result import Result, at_least, at_most
from benchmarks.sample import Sample, interleaved

RESULTS = [
    Result(
        row="a", what="fast", value=Sample((4.0, 6.0, 5.0), "x"), must=at_least(5), figures={"ours": Sample((0.002,))}
    ),
    Result(row="b", what="large", value=Sample((0.3,), "share"), must=at_most(0.25)),
    Result(row="c", what="elsewhere", must=at_most(1.0), reason="no CUDA device"),
    Result(row="d", what="gate", failed=True, reason="error 1 > 0"),
]


def test_verdicts_are_those_of_the_median() -> None:
    assert [result.verdict for result in RESULTS] == ["met", "missed", "unrun", "failed"]


def test_the_table_has_every_row_with_its_spread() -> None:
    table = as_markdown(RESULTS, {"CPU": "one"}, "python -m benchmarks")
    assert "| `a` fast | >= 5x | 5x met | 4x .. 6x |  | ours 2 ms |" in table
    assert "| `b` large | <= 25 % | 30 % missed |" in table
    assert "**unrun**" in table
    assert "no CUDA device" in table
    assert "- CPU: one" in table


def test_json_has_every_repetition() -> None:
    rows = json.loads(as_json(RESULTS, {}, ""))["rows"]
    assert rows[0]["value"]["values"] == [4.0, 6.0, 5.0]
    assert rows[0]["verdict"] == "met"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00512, "s", "5.12 ms"),
        (9.1e-5, "s", "91 us"),
        (3.9e9, "bytes", "3.90 GB"),
        (0.0123, "share", "1.23 %"),
        (12345.0, "tokens/s", "12.3 ktokens/s"),
        (372.0, "tokens/s", "372 tokens/s"),
        (2.6e-7, "", "2.6e-07"),
    ],
)
def test_numbers_carry_their_units(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_a_gate_refuses_what_is_too_large_or_no_number() -> None:
    assert require(1e-7, 1e-6, "error") == "error 1.0e-07 <= 1e-06"
    for error in (1e-5, float("nan"), float("inf")):
        with pytest.raises(GateFailed):
            require(error, 1e-6, "error")


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    samples = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, shortest=0)
    assert {name: len(sample.values) for name, sample in samples.items()} == {"a": 3, "b": 3}
    assert calls == ["a", "b", *(["a", "b"] * 3)]  # the first of each warms up
