"""The first lines of a run: what was resolved, and why."""

from __future__ import annotations

from collections.abc import Mapping

from camoe.config import RunConfig
from camoe.config.averaging import AveragingConfig
from camoe.config.diagnostics import in_words
from camoe.config.experts import NAMES, OF_RWKV_LAYERS, ExpertsConfig
from camoe.config.parallel import SHARD
from camoe.data.corpus import Corpus
from camoe.jobs.initial_weights import InitialWeights
from camoe.jobs.placement import Placement
from camoe.kernels.ranks import Ranks
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.tracking.console import Choice
from camoe.training.batch_share import BatchShare
from camoe.training.phases import PhaseSchedule
from camoe.training.training_text import AnswerText

WHY = {
    "precision": {
        "fp32": "train.precision: everything in float32",
        "bf16": "train.precision: products in bfloat16; gate, market, recurrence, norms and loss in float32",
    },
    "recompute": {
        "none": "train.recompute: all inner values are kept for the backward pass",
        "time_mix": "train.recompute: the backward pass computes every TimeMix again",
        "block": "train.recompute: the backward pass computes every block again",
    },
    "compile": {
        "none": "kernel.compile: time_mix would cost a minute of compilation",
        "time_mix": "kernel.compile: in training, from the first step on, which takes about a minute",
    },
    "optimizer": {
        "adamw": "optimizer.kind: moments in float32",
        "adamw8bit": "optimizer.kind: moments in 8 bits, by bitsandbytes",
        "muon": "optimizer.kind: orthogonalised momentum for hidden matrices, AdamW for the rest",
    },
}


def opening_lines(
    config: RunConfig,
    placement: Placement,
    corpus: Corpus,
    model: LanguageModel,
    ranks: Ranks,
    answers: Mapping[str, AnswerText],
    initial: InitialWeights | None = None,
) -> list[Choice]:
    """Choices in the order a reader asks for them: where, on what, which model, which text, for how long."""
    return [
        *placement.choices(),
        *_ranks_lines(config, ranks),
        *_diagnostics_line(config.diagnostics),
        *_arithmetic_lines(config),
        *_model_lines(config, model),
        *([initial.choice()] if initial else []),
        *_text_lines(config, corpus),
        *_boundary_line(config.data.reset_at_boundaries),
        *_answer_lines(answers),
        *_schedule_lines(config),
    ]


def _answer_lines(answers: Mapping[str, AnswerText]) -> list[Choice]:
    """Dialogues and pairs; nothing for a run without them."""
    return [
        Choice(
            profile,
            f"{len(text.loader.rows.items):,} to learn from, {len(text.held_out.items):,} held out",
            f"{text.loader.rows.cut:,} rows longer than train.ctx_len; "
            f"{text.loader.padding_share(1):.0%} padding in the first step",
        )
        for profile, text in answers.items()
    ]


def _ranks_lines(config: RunConfig, ranks: Ranks) -> list[Choice]:
    """Who shares the work; nothing for one process."""
    if ranks.count == 1:
        return []
    share = BatchShare.of(config.train, ranks.index, ranks.count)
    size = share.parts[0].stop - share.parts[0].start
    holds = ", holds its part of the weights" if config.parallel.weights == SHARD else ""
    owners = config.parallel.experts
    runs = f", {owners} together run the experts" if owners > 1 else ""
    takes = f"each takes {len(share.parts)} x {size} sequences{holds}{runs}; {ranks.link}"
    return [Choice("processes", str(ranks.count), takes)]


def _diagnostics_line(diagnostics: str) -> list[Choice]:
    """What it changes; nothing where nothing is diagnosed."""
    return [] if diagnostics == "none" else [Choice("diagnostics", diagnostics, in_words(diagnostics))]


def _arithmetic_lines(config: RunConfig) -> list[Choice]:
    """How a step is computed; what each option means stands in WHY."""
    chosen = {
        "precision": config.train.precision,
        "recompute": config.train.recompute,
        "compile": config.kernel.compile,
        "optimizer": config.optimizer.kind,
    }
    return [Choice(what, option, WHY[what][option]) for what, option in chosen.items()]


def _model_lines(config: RunConfig, model: LanguageModel) -> list[Choice]:
    cost, shape, mix, winners = model_cost(model), config.model, model.config.experts, model.config.router.top_k
    per_token = cost.flops_per_token(shape.n_layer, winners)
    attention = ", ".join(map(str, shape.attention_layers))
    heads = f"heads of {shape.head_size}" + (f"; attention in layers {attention}" if attention else "")
    return [
        Choice("model", f"C {shape.n_embd}, L {shape.n_layer}", heads),
        Choice(
            "experts",
            f"{_mix_in_words(mix)}, top-{winners}",
            f"router {config.router.kind}, economy {config.economy.kind}",
        ),
        *_causality_line(config),
        Choice("parameters", f"{cost.total_params:,}", f"{cost.active_params:,} active for a token under an even load"),
        Choice("FLOPs/token", f"{per_token:,.0f}", "forward, under an even load"),
    ]


def _causality_line(config: RunConfig) -> list[Choice]:
    """A warning where the router looks at later tokens; nothing for all others."""
    if config.router.causal:
        return []
    return [Choice("non-causal", config.router.kind, "reads ahead: an upper bound, never ranked, cannot generate")]


def _mix_in_words(mix: ExpertsConfig) -> str:
    """Such as 3 RWKV + 1 Transformer, or 1 RWKV, 640 hidden."""
    parts = [f"{count} {NAMES[kind]}" for kind, count in mix.counts(attention=False).items()]
    if mix.policy == "by_mixer":
        parts = [f"{part} (GELU in attention layers)" if NAMES[OF_RWKV_LAYERS] in part else part for part in parts]
    if mix.shared:
        parts.append(f"{mix.shared} shared {NAMES[mix.shared_kind]}")
    return " + ".join(parts) + ("" if mix.hidden is None else f", {mix.hidden} hidden")


def _text_lines(config: RunConfig, corpus: Corpus) -> list[Choice]:
    train, valid = corpus.train, corpus.valid
    source = config.data.path or config.data.source
    return [
        Choice("text", f"{train.text_bytes:,} bytes to train on", f"{valid.text_bytes:,} held out, from {source}"),
        Choice("tokenizer", corpus.tokenizer.name, f"{len(train.tokens):,} training tokens"),
        Choice("corpus", corpus.fingerprint[:16], "sha256 of tokenizer and tokens"),
    ]


def _boundary_line(reset: bool) -> list[Choice]:
    """What rows hold; nothing where they run across documents."""
    why = "data.reset_at_boundaries: from an empty state, padded to the longest row of a step"
    return [Choice("rows", "one document each", why)] if reset else []


def _schedule_lines(config: RunConfig) -> list[Choice]:
    schedule, train = PhaseSchedule(config.phase), config.train
    tokens = train.micro_batch * train.grad_accum * train.ctx_len
    phases = ", ".join(f"{phase.name} {phase.config.steps}" for phase in schedule.phases)
    return [
        Choice("step", f"{tokens:,} tokens", f"{train.micro_batch} x {train.grad_accum} sequences of {train.ctx_len}"),
        *_averaging_line(config.averaging, schedule.total_steps),
        Choice("schedule", f"{schedule.total_steps} steps, {schedule.total_steps * tokens:,} tokens", phases),
    ]


def _averaging_line(averaging: AveragingConfig, total_steps: int) -> list[Choice]:
    """Which weights will count; nothing without averaging."""
    if averaging.kind == "none":
        return []
    counted = averaging.counted_steps(total_steps)
    what = f"averaging.kind: weights of {len(counted)} steps count, from step {counted[0]} on"
    return [Choice("averaging", averaging.kind, what)]
