"""The first lines of a run: what was resolved, and why."""

from __future__ import annotations

from camoe.config import RunConfig
from camoe.data.corpus import Corpus
from camoe.jobs.placement import Placement
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.tracking.console import Choice
from camoe.training.phases import PhaseSchedule


def opening_lines(config: RunConfig, placement: Placement, corpus: Corpus, model: LanguageModel) -> list[Choice]:
    """Choices in the order a reader asks for them: where, on what, which model, which text, for how long."""
    return [
        *placement.choices(),
        *_model_lines(config, model),
        *_text_lines(config, corpus),
        *_schedule_lines(config),
    ]


def _model_lines(config: RunConfig, model: LanguageModel) -> list[Choice]:
    cost, shape, mix = model_cost(model), config.model, config.experts
    per_token = cost.flops_per_token(shape.n_layer, config.router.top_k)
    return [
        Choice("model", f"C {shape.n_embd}, L {shape.n_layer}", f"heads of {shape.head_size}"),
        Choice(
            "experts",
            f"{mix.rwkv_ffn} RWKV + {mix.transformer_prefix} Transformer, top-{config.router.top_k}",
            f"router {config.router.kind}, economy {config.economy.kind}",
        ),
        Choice("parameters", f"{cost.total_params:,}", f"{cost.active_params:,} active for a token under an even load"),
        Choice("FLOPs/token", f"{per_token:,.0f}", "forward, under an even load"),
    ]


def _text_lines(config: RunConfig, corpus: Corpus) -> list[Choice]:
    train, valid = corpus.train, corpus.valid
    source = config.data.path or config.data.source
    return [
        Choice("text", f"{train.text_bytes:,} bytes to train on", f"{valid.text_bytes:,} held out, from {source}"),
        Choice("tokenizer", corpus.tokenizer.name, f"{len(train.tokens):,} training tokens"),
        Choice("corpus", corpus.fingerprint[:16], "sha256 of tokenizer and tokens"),
    ]


def _schedule_lines(config: RunConfig) -> list[Choice]:
    schedule, train = PhaseSchedule(config.phase), config.train
    tokens = train.micro_batch * train.grad_accum * train.ctx_len
    phases = ", ".join(f"{phase.name} {phase.config.steps}" for phase in schedule.phases)
    return [
        Choice("step", f"{tokens:,} tokens", f"{train.micro_batch} x {train.grad_accum} sequences of {train.ctx_len}"),
        Choice("schedule", f"{schedule.total_steps} steps, {schedule.total_steps * tokens:,} tokens", phases),
    ]
