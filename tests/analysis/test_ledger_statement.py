"""Numbers of a statement, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.ledger_statement import Statement, statement_of
from analysis.run_files import read_ledger
from camoe.config import ConfigError
from tests.analysis.ledger_folder import records, run_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path, records())


def statement(folder: Path, **choices: int) -> Statement:
    return statement_of(read_ledger(folder), **choices)


def test_periods_follow_each_other_and_layers_add_up(folder: Path) -> None:
    found = statement(folder, every=2000)
    experts = found.accounts["experts"]
    assert list(experts.columns) == ["opening", "wealth_tax", "qe", "closing"]  # in the order of a settlement
    assert experts.index.tolist() == [2000, 3000]
    assert experts.to_numpy().tolist() == [[8.0, -3.0, 0.5, 5.5], [5.5, -0.75, 0.0, 4.75]]
    assert found.accounts["treasury"].to_numpy().tolist() == [[0.0, 3.0, 3.0], [3.0, 0.75, 3.75]]
    assert found.accounts["critics"]["critic_score"].tolist() == [-0.25, 0.0]
    assert found.within.to_numpy().tolist() == [[9.0], [0.0]]
    assert found.by_layer["experts"].loc[1].tolist() == [4.0, -1.25, 0.0, 2.75]
    assert max(found.unexplained.values()) == 0


def test_one_layer(folder: Path) -> None:
    found = statement(folder, layer=0, every=1000)
    assert found.accounts["experts"]["closing"].tolist() == [4.5, 2.5, 2.0]
    assert "critic_score" not in found.accounts["critics"]  # nothing moved there
    assert found.within["profit"].tolist() == [3.0, 1.0, 0.0]
    assert "layer 0" in found.title


def test_without_a_length_there_are_ten_periods_at_most(tmp_path: Path) -> None:
    ledger = records()[2:]
    opening = ledger[0]["closing"]
    for step in range(40):
        ledger.append({"step": 4 + step, "tokens_seen": 3000 + 100 * (step + 1), "settlements": 1, "rows": []})
        ledger[-1] |= {"opening": opening, "closing": opening}
    experts = statement(run_folder(tmp_path, ledger)).accounts["experts"]
    assert len(experts) <= 10
    assert experts.index[-1] == 7000
    assert experts["closing"].iloc[-1] == sum(opening["experts"])


@pytest.mark.parametrize("where", ["rows", "opening"])
def test_money_that_no_row_explains_is_found(tmp_path: Path, where: str) -> None:
    ledger = records()
    if where == "rows":
        ledger[1]["rows"] = ledger[1]["rows"][:1]
    else:  # between two windows, equal and opposite in the layers
        ledger[1] |= {"opening": {**ledger[1]["opening"], "experts": [4.0, 4.5]}}
        ledger[0] |= {"closing": {**ledger[0]["closing"], "experts": [5.0, 3.5]}}
    assert statement(run_folder(tmp_path, ledger), every=1000).unexplained["experts"] > 0.05


def test_an_account_that_was_never_used_is_left_out(tmp_path: Path) -> None:
    ledger = records()
    for record in ledger:
        for when in ("opening", "closing"):
            record[when] = {**record[when], "ventures": [0.0, 0.0]}
    assert list(statement(run_folder(tmp_path, ledger)).accounts) == ["experts", "treasury", "critics"]


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--layer: 2; this run has layers 0 to 1"):
        statement(folder, layer=2)
    with pytest.raises(ConfigError, match=r"ledger.jsonl: empty; .*economy=off"):
        read_ledger(run_folder(tmp_path / "empty", []))
    with pytest.raises(ConfigError, match="no such run folder"):
        read_ledger(tmp_path / "nowhere")
