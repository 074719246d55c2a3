"""The ledger of real runs: money is conserved by the file alone, and a kill leaves no trace in it."""

from __future__ import annotations

import argparse
import inspect
import signal
import subprocess
import time
from pathlib import Path

import pytest

from analysis.ledger_statement import statement_of
from analysis.run_files import LedgerFile, read_ledger
from tests.jobs.command import SMALL, command, records, run, run_folder

LIVELY = [  # everything that can move money does
    "economy=calibrated",
    "economy.alpha.holdout_share=0.25",
    "economy.capital.half_life=2000",
    "economy.wealth_tax.threshold=1.01",
    "economy.wealth_tax.half_life=500",
    "economy.idle_tax.threshold=1",
    "economy.idle_tax.half_life=500",
    "economy.idle_tax.load_half_life=200",
    "economy.ventures.half_life=500",
    "economy.bank.money=elastic",
    "economy.bank.entropy_min=0.99",
    "economy.bank.entropy_max=1.0",
]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text that no change of this project changes: who earns in so short a run hangs on it."""
    path = tmp_path_factory.mktemp("text") / "modules.txt"
    path.write_text(inspect.getsource(argparse) + inspect.getsource(inspect))
    return path


def settings(text: Path) -> list[str]:
    return [*SMALL, *LIVELY, f"data.path={text}"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    cwd = tmp_path_factory.mktemp("finished")
    result = run(cwd, *settings(text))
    assert result.returncode == 0, result.stderr
    assert "UndefinedMetricWarning" not in result.stderr
    assert "worth" in result.stdout
    return run_folder(cwd)


def unexplained(ledger: LedgerFile) -> float:
    """Largest |opening + all entries - closing| of the whole run, any layer and account, over a layer's money."""
    worst = 0.0
    for (account, _), rows in ledger.balances.groupby(["account", "layer"]):
        entries = ledger.entries[ledger.entries["layer"] == rows["layer"].iloc[0]]
        came = entries["amount"][entries["target"] == account].sum()
        went = entries["amount"][entries["source"] == account].sum()
        worst = max(worst, abs(rows["opening"].iloc[0] + came - went - rows["closing"].iloc[-1]) / 4)
    return worst


def test_money_is_conserved_by_the_file_alone(finished: Path) -> None:
    ledger = read_ledger(finished)
    assert unexplained(ledger) < 1e-6
    moved = set(ledger.entries["reason"][ledger.entries["amount"] > 1e-6])
    assert moved >= {"profit", "idle_tax", "venture_grant", "venture_vest"}
    assert max(statement_of(ledger).unexplained.values()) < 1e-6
    ledger.entries.loc[ledger.entries["reason"] == "idle_tax", "amount"] *= 1.01
    assert unexplained(ledger) > 1e-6  # so the check can fail


def test_what_the_market_measured_is_recorded(finished: Path) -> None:
    last = [record for record in records(finished) if "market/alpha" in record][-1]
    for name in ("efficiency", "spearman_credit", "spearman_load", "agreement_kappa", "congestion_spread"):
        assert f"market/{name}" in last, name
    assert last["market/holdout_low"] < last["market/holdout_gain"] < last["market/holdout_high"]
    for name in ("credit", "credit_error", "congestion_price"):
        assert len(last[f"market/{name}/by_expert"][0]) == 4
    assert last["market/ledger_residual/worst"] < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("after_records", [2, 5])
def test_a_killed_run_goes_on_to_the_same_ledger(
    finished: Path, text: Path, tmp_path: Path, after_records: int
) -> None:
    process = subprocess.Popen(command(*settings(text)), cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.read_bytes().count(b"\n") >= after_records for path in tmp_path.glob("outputs/2*/*/ledger.jsonl")):
            break
        time.sleep(0.002)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    folder = run_folder(tmp_path)
    assert run(tmp_path, f"resume={folder}").returncode == 0
    assert (folder / "ledger.jsonl").read_bytes() == (finished / "ledger.jsonl").read_bytes()
    assert records(folder) == records(finished)
