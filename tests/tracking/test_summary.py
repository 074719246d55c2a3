from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from camoe.config.experts import ExpertsConfig, expert_labels
from camoe.tracking.bars import bar, marked_bar, stacked_bar
from camoe.tracking.market_findings import market_findings
from camoe.tracking.summary import MarketOutcome, RunSummary, print_summary, save_summary, summary_text

SHARES = [[0.4, 0.2, 0.2, 0.2], [0.1, 0.5, 0.3, 0.1]]
SUMMARY = RunSummary(
    name="pilot",
    run_folder=Path("/runs/2026-05-14/09-31-12-pilot-3fa21bc9"),
    bpb=1.8734,
    gzip_bpb=2.2541,
    unigram_bpb=4.6821,
    scored_bytes=1234567,
    steps=2000,
    tokens_seen=4_096_000,
    n_params=3_210_000,
    tokens_per_s=11234,
    elapsed=365,
    flops_per_token=8.1e6,
    experts=ExpertsConfig(rwkv_ffn=3, transformer_prefix=1),
    load=SHARES,
    trans_share=[0.31, 0.05],
    market=MarketOutcome(capital_share=SHARES, capital_gini=[0.18, 0.35], alpha=[0.047, 0.051]),
    prompt="def ",
    sample="f(x):\n    return x\x07\n",
    mlflow_run_id="abd98b61",
    mlflow_look="mlflow ui --backend-store-uri sqlite:////runs/mlflow.db",
)


FINDINGS = {
    "market/holdout_gain": 0.01234,
    "market/holdout_low": -0.0011,
    "market/holdout_high": 0.0257,
    "market/holdout_sequences": 231.4,
    "market/efficiency": -0.07,
    "market/spearman_credit": 0.61,
    "market/spearman_load": 0.82,
    "market/agreement_kappa": 0.11,
}


def row(text: str, start: str) -> str:
    (found,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return found


def test_every_number_is_on_the_page() -> None:
    text = summary_text(SUMMARY)
    for part in ("1.8734", "2.2541", "4.6821", "1,234,567 bytes", "2,000", "4.1M", "3.21M", "8.1M", "11.2k", "0:06:05"):
        assert part in text, part
    for part in ("L00", "31%", "0.18", "0.047"):
        assert part in row(text, "L00"), part
    assert "their fair share: 25%" in text
    assert str(SUMMARY.run_folder) in text
    assert "abd98b61" in text
    assert "mlflow ui --backend-store-uri" in text
    assert "def f(x):" in text
    assert "      return x·" in text  # indented, the control character made visible


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "a very long name " * 5},
        {
            "experts": ExpertsConfig(rwkv_ffn=6, transformer_prefix=2),
            "load": [[0.125] * 8] * 24,
            "trans_share": [0.2] * 24,
            "market": None,
        },
    ],
)
def test_plain_text_fits_80_columns_without_colour_codes(changes: dict) -> None:
    text = summary_text(replace(SUMMARY, **changes))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_the_best_compressor_comes_first_and_bars_are_in_proportion() -> None:
    lines = summary_text(SUMMARY).splitlines()
    bars = [line for line in lines if line.strip().startswith(("this model", "gzip", "byte unigram"))]
    assert [line.split()[0] for line in bars] == ["this", "gzip", "byte"]
    lengths = [line.count("▆") for line in bars]
    assert lengths == [round(50 * bpb / 4.6821) for bpb in (1.8734, 2.2541, 4.6821)]


def with_findings(**changes: float) -> str:
    assert SUMMARY.market is not None
    findings = market_findings({**FINDINGS, "loss/total": 5.0, **changes})
    return summary_text(replace(SUMMARY, market=replace(SUMMARY.market, findings=findings)))


def test_a_market_that_experiments_on_itself_says_what_it_is_worth() -> None:
    text = with_findings()
    for part in ("+0.0123 nats/token", "(95 %: -0.0011 to +0.0257)", "231 sequences held out"):
        assert part in row(text, "worth"), part
    values = row(text, "-0.07").split()
    names = [name.strip() for name in row(text, "market efficiency").split("  ") if name.strip()]
    assert names == ["market efficiency", "capital ~ credit", "capital ~ load", "kappa with gate"]
    assert values == ["-0.07", "+0.61", "+0.82", "+0.11"]
    assert max(map(len, text.splitlines())) <= 80
    assert "worth" not in summary_text(SUMMARY)


def test_no_worth_is_claimed_before_it_is_measured() -> None:
    assert SUMMARY.market is not None
    findings = market_findings({"market/holdout_sequences": 1.0, "market/efficiency": 0.5})
    text = summary_text(replace(SUMMARY, market=replace(SUMMARY.market, findings=findings)))
    assert row(text, "worth").strip() == "worth  not measured, 1 sequences held out"


def test_without_a_market_the_load_is_shown_instead() -> None:
    text = summary_text(replace(SUMMARY, market=None))
    assert "load by expert" in text
    assert "capital" not in text
    assert "Gini" not in text


def test_without_transformer_experts_there_is_no_bar_for_them() -> None:
    rwkv_only = replace(SUMMARY, experts=ExpertsConfig(rwkv_ffn=4, transformer_prefix=0), trans_share=[0.0, 0.0])
    text = summary_text(rwkv_only)
    assert "Transformer" not in text
    assert "capital by expert" in text


def test_colour_on_a_terminal_that_has_it_and_textures_elsewhere() -> None:
    screens = {}
    for system in ("truecolor", None):
        console = Console(file=io.StringIO(), width=80, color_system=system, force_terminal=True)
        print_summary(SUMMARY, console)
        screens[system] = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[38;2;" in screens["truecolor"]
    assert "▒" not in screens["truecolor"]
    assert "▒" in screens[None]


def test_saved_picture_is_well_formed_and_keeps_indentation(tmp_path: Path) -> None:
    save_summary(SUMMARY, tmp_path)
    assert (tmp_path / "summary.txt").read_text() == summary_text(SUMMARY)
    root = ElementTree.parse(tmp_path / "summary.svg").getroot()
    assert root.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve"
    assert "this\xa0model" in "".join(root.itertext())


def test_bars() -> None:
    assert bar(0.5, 10).plain == "▆▆▆▆▆"
    assert bar(2.0, 4).plain == "▆▆▆▆"
    assert marked_bar(0.5, 0.25, 8, "red").plain == "▆▆┃▆····"
    assert marked_bar(0.0, 1.0, 4, "red").plain == "···┃"
    assert stacked_bar([0.5, 0.25, 0.25], ["", "", ""], 8, colour=False).plain == "████▒▒▓▓"
    assert len(stacked_bar([1 / 3] * 3, [""] * 3, 22, colour=True)) == 22
    assert stacked_bar([-0.5, 1.5], ["", ""], 4, colour=False).plain == "▒▒▒▒"
    assert stacked_bar([0.0, 0.0], [""] * 2, 4, colour=False).plain == ""
    assert expert_labels(ExpertsConfig(rwkv_ffn=2, transformer_prefix=1)) == ["R0", "R1", "T0"]
