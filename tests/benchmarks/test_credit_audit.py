"""What a small trained market's experts are worth, by every measure; the full row trains for minutes and is no test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import credit_audit, small_market
from benchmarks.__main__ import main
from benchmarks.families import DEFAULT, FAMILIES, run_family
from benchmarks.session import Session
from benchmarks.small_market import TINY, measured, worth
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.election_terms import AuditedLayer, ElectionTerms

QUICK = Session(quick=True, repetitions=1)
SEQUENCES = torch.randint(1, TINY.vocab, (70, TINY.ctx + 1), generator=torch.Generator().manual_seed(0))


def _model() -> LanguageModel:
    model = LanguageModel(TINY.config(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


def _loss(model: LanguageModel, audited: AuditedLayer | None) -> tuple[float, RoutingTrace]:
    trace = RoutingTrace()
    with torch.no_grad():
        hidden, _ = model.hidden(SEQUENCES[:, :-1], terms=ElectionTerms(audited=audited), trace=trace)
        return float(model.cross_entropy(hidden, SEQUENCES[:, 1:])[1].double().sum()), trace


def test_the_truth_is_what_a_ban_costs_per_token_served() -> None:
    model, expert, layer = _model(), 3, 1
    whole, trace = _loss(model, None)
    banned, _ = _loss(model, AuditedLayer(layer, torch.full((len(SEQUENCES),), expert)))
    served = int((trace.layers[layer].decision.experts == expert).sum())
    truth = worth(measured(model, SEQUENCES, "leave_one_out"))
    assert float(truth.value[layer, expert]) == pytest.approx((banned - whole) / served, rel=1e-5)
    assert (truth.value_error > 0).all()


def test_every_sequence_is_audited_once_in_every_layer() -> None:
    model = _model()
    window = measured(model, SEQUENCES, "replacement_audit", seed=5)
    assert window.credit is not None
    everybody = measured(model, SEQUENCES, "leave_one_out")
    assert everybody.credit is not None
    assert torch.equal(everybody.credit.credit[1].sum(-1), torch.full((2,), SEQUENCES[:, 1:].numel() * 2.0).double())
    share = window.credit.credit[1].sum(-1) / everybody.credit.credit[1].sum(-1)
    assert ((share > 0.5 / 8) & (share < 2 / 8)).all()  # one of eight experts per sequence
    again = measured(model, SEQUENCES, "replacement_audit", seed=5)
    assert again.credit is not None
    assert torch.equal(window.credit.credit, again.credit.credit)


def test_it_runs_only_when_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(FAMILIES) - set(DEFAULT) == {credit_audit.ROW}
    main(["--list"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(credit_audit.ROW))
    assert line.endswith("(only when named)")


@pytest.mark.slow
def test_the_row_runs_on_tiny_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the tokens' cache
    results = list(run_family(credit_audit.ROW, QUICK))
    assert not any(result.failed for result in results), results[-1].reason
    assert len(results) == 12
    assert all(result.value is not None and result.gate for result in results)
    correlations = [result for result in results if "Spearman" in result.what]
    assert all(abs(result.value.median) <= 1 for result in correlations if result.value is not None)
    assert any(result.figures["least"].median < result.figures["most"].median for result in correlations)


@pytest.mark.slow
def test_an_incomplete_truth_fails_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(credit_audit, "SEEDS", range(1))
    real = small_market.measured
    monkeypatch.setattr(credit_audit, "measured", lambda model, windows, *rest: real(model, windows[1:], *rest))
    (last,) = run_family(credit_audit.ROW, QUICK)
    assert last.verdict == "failed"
    assert "leave-one-out" in last.reason
