"""Every row runs on tiny sizes, and a wrong answer is never timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks import audit_cost, head_loss, prefix_attention, published_layers
from benchmarks.families import DEFAULT, about, run_family
from benchmarks.session import Session
from benchmarks.training_cuda import share_of_peak
from benchmarks.whole_step import TINY
from benchmarks.workload import build_model
from camoe.economy.market import CapitalMarket
from camoe.economy.market_report import MarketReport
from camoe.economy.measured_credit import MeasuredCredit
from camoe.kernels.wkv7 import wkv7
from camoe.tracking.metrics_log import MetricsLog
from camoe.training.audit import measure_credit

QUICK = Session(quick=True, repetitions=1)
SLOW = ("head_loss", "peak_memory", "start_up")  # processes of their own


def _slow(names: tuple[str, ...]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


@pytest.mark.parametrize("name", _slow(DEFAULT))
def test_every_row_runs(name: str) -> None:
    results = list(run_family(name, QUICK))
    assert results
    for result in results:
        assert result.row == name
        assert result.what
        if result.verdict == "unrun":
            assert result.reason
        else:
            assert result.value is not None, result.reason
            assert all(value > 0 for value in result.value.values)
            assert result.gate or "error" in result.what
    assert about(name)


def _wrong(function: Callable[..., Any], factor: float = 1.001) -> Callable[..., Any]:
    def scaled(*arguments: Any, **options: Any) -> Any:
        out = function(*arguments, **options)
        return (out[0] * factor, *out[1:]) if isinstance(out, tuple) else out * factor

    return scaled


def _wkv7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.wkv7.wkv7", _wrong(wkv7))


def _published_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = _wrong(published_layers.prefix_attention, 1.1)
    for module in (published_layers, prefix_attention):
        monkeypatch.setattr(module, "prefix_attention", wrong)


def _published_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_layers, "feed_forward", _wrong(published_layers.feed_forward))


def _head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_loss, "linear_cross_entropy", _wrong(head_loss.linear_cross_entropy))


def _idle_market(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = MarketReport(residual=torch.zeros(2), purse_residual=torch.zeros(2))
    monkeypatch.setattr(CapitalMarket, "settle", lambda *_, **__: nothing)


def _inflated_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*arguments: Any) -> MeasuredCredit:
        credit = measure_credit(*arguments)
        return replace(credit, effect=credit.effect + 1)

    monkeypatch.setattr(audit_cost, "measure_credit", measure)


def _lost_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MetricsLog, "write", lambda *_: None)


def _empty_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.start_up._composed", lambda: ("", 0.1))


@pytest.mark.parametrize(
    ("name", "sabotage"),
    [
        ("wkv7", _wkv7),
        ("prefix_attention", _published_expert),
        ("expert_stage", _published_stage),
        ("head_loss", _head),
        ("whole_step", _published_expert),
        ("generation", _published_expert),
        ("peak_memory", _published_expert),
        ("settlement", _idle_market),
        ("audit_cost", _inflated_audit),
        ("tracking", _lost_records),
        ("start_up", _empty_configuration),
    ],
)
def test_a_wrong_answer_fails_the_gate(
    name: str, sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    *before, last = run_family(name, QUICK)
    assert last.verdict == "failed"
    assert last.reason
    assert not any(result.figures for result in before)


def test_the_share_of_the_peak_is_that_of_the_active_flops() -> None:
    model = build_model(TINY.config())
    share, seconds = share_of_peak(model, TINY, repetitions=2, side=64)
    assert seconds.low > 0
    assert 0 < share.median < 1
    assert share.values[0] * seconds.values[0] == pytest.approx(share.values[1] * seconds.values[1])
