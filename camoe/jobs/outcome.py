"""What a finished run leaves to look at: its last evaluation, a sampled continuation, and the summary of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camoe.config.job import JobConfig
from camoe.data.corpus import Corpus
from camoe.data.tokenizer import Tokenizer
from camoe.economy.market import CalibratedMarket, CapitalMarket, Market
from camoe.economy.market_report import gini
from camoe.inference.continuation import TextState
from camoe.inference.document_scores import DocumentScores
from camoe.inference.evaluation import Evaluation
from camoe.inference.writer import Writer
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.tracking.market_findings import ANCHOR, market_findings
from camoe.tracking.metrics_log import last_record_with
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path
from camoe.tracking.summary import MarketOutcome, RunSummary
from camoe.training.trainer import Trainer


def sample(model: LanguageModel, tokenizer: Tokenizer, job: JobConfig, seed: int) -> str:
    """Text that continues job.prompt; an empty prompt starts a document."""
    writer = Writer(model, tokenizer, job, seed)
    (written,) = writer.go_on([TextState()], [job.prompt], traced=False)
    return written.continuation


def final_record(trainer: Trainer, corpus: Corpus, evaluation: Evaluation, documents: DocumentScores) -> dict[str, Any]:
    """The last record of a run: all of the held-out text, and the figures that give it a scale."""
    scale = corpus.statistics["scale"]
    return {
        **evaluation.record("final"),
        "final/bpb_error": documents.bpb_error(),
        "final/gzip_bpb": scale["gzip_bits_per_byte"],
        "final/unigram_bpb": scale["unigram_bits_per_byte"],
        **trainer.spent(),
    }


def averaged_record(evaluation: Evaluation | None) -> dict[str, Any]:
    """The same text under averaged weights; nothing where there are none."""
    if evaluation is None:
        return {}
    error = DocumentScores.of(evaluation).bpb_error()
    return {**evaluation.record("final_averaged"), "final_averaged/bpb_error": error}


def run_summary(trainer: Trainer, folder: RunFolder, record: Mapping[str, Any], text: str) -> RunSummary:
    """The summary of a finished run; `elapsed` is this process's, not of one that it went on from."""
    config, model = trainer.config, trainer.model
    return RunSummary(
        name=config.name,
        run_folder=shown_path(folder.path),
        bpb=record["final/bpb"],
        averaged_bpb=record.get("final_averaged/bpb"),
        gzip_bpb=record["final/gzip_bpb"],
        unigram_bpb=record["final/unigram_bpb"],
        scored_bytes=record["final/bytes"],
        steps=trainer.progress.step,
        tokens_seen=trainer.progress.tokens_seen,
        n_params=model_cost(model).total_params,
        tokens_per_s=trainer.account.tokens_per_s(),
        elapsed=trainer.account.stopwatch.elapsed(),
        flops_per_token=record["final/flops_per_token"],
        not_causal="" if config.router.causal else config.router.kind,
        experts=model.config.experts,
        load=record["final/load/by_expert"],
        trans_share=record["final/trans_share/by_layer"],
        market=_market_outcome(model.market, folder),
        prompt=config.job.prompt,
        sample=text,
        mlflow_run_id=trainer.tracker.mlflow_run_id,
        mlflow_look=trainer.tracker.mlflow_look,
    )


def _market_outcome(market: Market, folder: RunFolder) -> MarketOutcome | None:
    if not isinstance(market, (CapitalMarket, CalibratedMarket)):
        return None
    return MarketOutcome(
        capital_share=market.state.capital_share().tolist(),
        capital_gini=gini(market.state.capital).tolist(),
        alpha=market.state.alpha.tolist(),
        findings=market_findings(last_record_with(folder.metrics_file, ANCHOR)),
    )
