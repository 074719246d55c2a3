"""Every metric the framework records: its name, meaning, unit and range, in one place.

A name is `room/metric`. What exists per layer is recorded as its mean over layers under that name, and where stated as
`room/metric/worst` (the worst layer), `room/metric/by_layer` ([L] numbers) or `room/metric/by_expert` ([L][E] numbers).
Symbols: N tokens that are real targets in the record's window, L layers, E experts, k winners per token, z gate logits,
n_e tokens that expert e served, f_e = n_e / sum n (= n_e / (N k)), p_t = softmax(z_t), C_e capital, M = total_capital.
Only `time/` may differ between two runs of the same configuration on the same machine.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from camoe.config.phase import PARAMETER_GROUPS
from camoe.config.refusal import nearest
from camoe.tracking.market_metrics import CRITIC, MARKET
from camoe.tracking.metric_definition import BY_EXPERT, BY_LAYER, HEADLINE, LAYERED, WORST, MetricDefinition, room


class UndefinedMetricWarning(UserWarning):
    """A record holds a name that this table does not define."""


LOSS = room(
    "loss",
    ("total", "what is minimised: the sum of the terms below", "nats/token", "0.."),
    ("language_model", "training cross-entropy, mean over N", "nats/token", "0.."),
    ("preference", "DPO's -log sigmoid(margin), mean over pairs; in place of language_model", "nats", "0.."),
    ("switch", "router.losses.switch.weight times E sum_e f_e P_e, mean over layers", "1", "0.."),
    ("z", "router.losses.z.weight times how large gate logits are, mean over tokens and layers", "1", "0.."),
    ("cost", "router.losses.cost.weight times E sum_e c_e f_e P_e, mean over layers", "1", "0.."),
    ("sparsity", "ReMoE: lambda times sum_e f_e R_te, mean over tokens and layers", "1", "0.."),
    ("critic_difficulty", "loss_weight times the critic's difficulty regression, mean over layers", "1", "0.."),
    ("critic_affinity", "loss_weight times the critic's affinity regression, mean over layers", "1", "0.."),
)
_QUALITY = (
    ("loss", "cross-entropy, mean over tokens", "nats/token", "0.."),
    ("ppl", "exp(loss)", "1", "1.."),
    ("bpb", "sum of token nats / (ln 2 x UTF-8 bytes of the same text)", "bits/byte", "0.."),
    ("bytes", "UTF-8 bytes of the text that was scored", "bytes", "0.."),
    ("maxvio_global", "max_e n_e / mean_e n_e - 1 with n counted over the whole text", "1", "0..E/k-1", HEADLINE),
    ("maxvio_noise_floor", "maxvio_global expected of a uniformly random router on the same text", "1", "0.."),
    ("load_entropy", "H(f) / log E", "1", "0..1", LAYERED),
    ("dead_experts", "experts with n_e < 0.01 mean n", "experts", "0..E", LAYERED),
    ("gate_mi", "marginal minus token entropy of the gate, in units of log E", "1", "0..1", LAYERED),
    ("trans_share", "share of assignments that go to Transformer experts", "1", "0..1", LAYERED),
    ("flops_per_token", "forward FLOPs per token, experts counted by who served", "FLOP/token", "0.."),
    ("market_flip_rate", "share of tokens whose winner set the market's bias changes", "1", "0..1", LAYERED),
    ("load", "f_e, share of assignments", "1", "0..1", (BY_EXPERT,)),
)
VALID = room("valid", *_QUALITY)  # a fixed part of the held-out text, during training
_ERROR = ("bpb_error", "standard error of bpb, over the documents of the held-out text", "bits/byte", "0..")
FINAL = room(  # all of the held-out text, once at the end
    "final",
    *_QUALITY,
    _ERROR,
    ("gzip_bpb", "the held-out text compressed by gzip", "bits/byte", "0..8"),
    ("unigram_bpb", "the held-out text under its own byte frequencies", "bits/byte", "0..8"),
)
# The same text under averaged weights, the market as it is; recorded from the average's first step on.
VALID_AVERAGED = room("valid_averaged", *_QUALITY)
FINAL_AVERAGED = room("final_averaged", *_QUALITY, _ERROR)

_PREFERENCE = (
    ("accuracy", "share of pairs with a margin above 0; one of 0 counts half", "1", "0..1"),
    ("margin", "mean of beta ((log pi/pi_ref)(chosen) - (log pi/pi_ref)(rejected))", "nats", ".."),
    ("chosen_log_prob", "log-probability of the chosen answer, mean over pairs", "nats", "..0"),
    ("rejected_log_prob", "log-probability of the rejected answer, mean over pairs", "nats", "..0"),
)
_PREFERENCE_LOSS = ("loss", "DPO's -log sigmoid(margin), mean over pairs", "nats", "0..")
_ANSWERS = (
    ("loss", "cross-entropy of held-out answers and their ends, mean over tokens", "nats/token", "0.."),
    ("bpb", "sum of these nats / (ln 2 x UTF-8 bytes of the answers)", "bits/byte", "0.."),
    ("bytes", "UTF-8 bytes of the answers that were scored", "bytes", "0.."),
)
ANSWERS = [  # of runs with phases on dialogues or on pairs; `preference` is of training, in the record's window
    *room("preference", *_PREFERENCE),
    *(row for name in ("valid", "final") for row in room(f"{name}_answers", *_ANSWERS)),
    *(row for name in ("valid", "final") for row in room(f"{name}_preference", _PREFERENCE_LOSS, *_PREFERENCE)),
]

ROUTING = [
    *room(
        "routing",
        ("tokens", "N, real targets in the window", "tokens", "0.."),
        ("maxvio_batch", "max_e n_e / mean_e n_e - 1 over the window", "1", "0..E/k-1", HEADLINE),
        ("maxvio_micro", "the same per micro-batch, then averaged", "1", "0..E/k-1", LAYERED),
        ("maxvio_noise_floor", "maxvio_batch expected of a uniformly random router with this N, E, k", "1", "0.."),
        ("winners_per_token", "sum_e n_e / N, experts that served a token", "experts", "0..E", LAYERED),
        ("capacity_use", "share of the experts' places that were taken; with a capacity", "1", "0..1", LAYERED),
        ("drop_rate", "share of assignments beyond capacity, whether or not they were dropped", "1", "0..1", LAYERED),
        ("token_drop_rate", "share of tokens of which every assignment was beyond capacity", "1", "0..1", LAYERED),
        ("load_imbalance", "max_e n_e / mean_e n_e", "1", "1..E/k", (WORST,)),
        ("minvio", "1 - min_e n_e / mean_e n_e", "1", "0..1", LAYERED),
        ("load_cv", "standard deviation over mean of n_e", "1", "0..sqrt(E/k-1)", LAYERED),
        ("effective_experts", "exp H(f)", "experts", "1..E", LAYERED),
        ("kl_uniform", "log E - H(f)", "nats", "0..log E", LAYERED),
        ("load_gini", "Gini coefficient of n_e", "1", "0..(E-1)/E", LAYERED),
        ("dead_experts", "experts with n_e < 0.01 mean n in the window", "experts", "0..E", HEADLINE),
        ("balance_raw", "E sum_e f_e mean_t(p_te) over the window, unweighted", "1", "0..E", LAYERED),
        ("balance_count", "E sum_e f_e^2, the published count-only form, which trains nothing", "1", "1..E/k", LAYERED),
        ("z_raw", "mean_t logsumexp(z_t)^2, unweighted", "1", "0..", LAYERED),
        ("router_z", "mean_t logsumexp(z_t)", "1", "any", LAYERED),
        ("gate_std", "mean_t standard deviation of z_t over experts", "logits", "0..", LAYERED),
        ("gate_entropy_token", "mean_t H(p_t) / log E", "1", "0..1", LAYERED),
        ("gate_entropy_marginal", "H(mean_t p_t) / log E", "1", "0..1", LAYERED),
        ("topk_mass", "mean_t of the gate's probability on the winners", "1", "0..1", LAYERED),
        ("margin_k", "mean_t (k-th minus (k+1)-th largest z) / standard deviation of z_t", "1", "0..", LAYERED),
        ("winner_from_adjusted_entropy", "mean_t H(softmax(adjusted logits))", "nats", "0..log E", LAYERED),
        ("adjusted_entropy_normalised", "winner_from_adjusted_entropy / log E", "1", "0..1", LAYERED),
        ("weight_entropy", "mean_t H(mixture weights)", "nats", "0..log k", LAYERED),
        ("weight_entropy_normalised", "weight_entropy / log k", "1", "0..1", LAYERED),
        ("noise_flip_rate", "share of tokens whose winner set the noise changed", "1", "0..1", LAYERED),
        ("prior_override_rate", "modulo_prior: tokens whose first winner is not the prior's", "1", "0..1", LAYERED),
        ("trans_weight_share", "share of mixture weight on Transformer experts", "1", "0..1", LAYERED),
        ("expert_flops_per_token", "forward FLOPs per token in one layer's experts", "FLOP/token", "0..", LAYERED),
        ("flops_per_token", "forward FLOPs per token of the model, by who served", "FLOP/token", "0.."),
        ("load", "f_e, share of assignments", "1", "0..1", (BY_EXPERT,)),
        ("weight_share", "share of mixture weight", "1", "0..1", (BY_EXPERT,)),
        ("gate_probability", "mean_t p_te", "1", "0..1", (BY_EXPERT,)),
    ),
    MetricDefinition("routing/load_entropy", "H(f) / log E", "1", "0..1", HEADLINE, worst="min"),
    MetricDefinition(
        "routing/gate_mi", "gate_entropy_marginal - gate_entropy_token", "1", "0..1", HEADLINE, worst="min"
    ),
    MetricDefinition(
        "routing/trans_share",
        "share of assignments that go to Transformer experts; worst is the layer that uses them most",
        "1",
        "0..1",
        HEADLINE,
    ),
]

PHASE = [
    *room(
        "phase",
        ("name", "name of the training phase", "text", "any"),
        ("index", "number of the phase in the schedule, from 0", "1", "0.."),
        ("market_bids", "1 when the market takes part in elections", "1", "0 or 1"),
        ("market_settles", "1 when capital is updated", "1", "0 or 1"),
    ),
    *room("phase", *((f"lr_{group}", f"learning rate of {group}", "1/step", "0..") for group in PARAMETER_GROUPS)),
]
PROGRESS = room(
    "progress",
    ("tokens_seen", "real target tokens trained on since the start", "tokens", "0.."),
    (
        "train_flops",
        "FLOPs of training since the start: 3 x forward FLOPs by who served (a backward is two forwards), and those of "
        "audits; skipped steps and recomputation are not counted, what is frozen counts as if it learned",
        "FLOP",
        "0..",
    ),
    ("grad_norm", "global gradient norm before clipping", "1", "0.."),
    ("skipped_steps", "steps skipped for a non-finite loss since the start", "steps", "0.."),
    ("stream_hash", "hash of the training sequences read so far", "text", "any"),
)
TIME = room(
    "time",
    ("unix", "when the record was written", "s since 1970", "0.."),
    ("step", "mean duration of an optimiser step in the window", "s", "0.."),
    ("tokens_per_s", "training tokens per second in the window", "tokens/s", "0.."),
    (
        "training_s",
        "time spent training since the start, earlier processes included; without evaluations, checkpoints, start-up, "
        "and steps that a stop undid",
        "s",
        "0..",
    ),
    ("peak_memory", "largest memory so far: of the accelerator, else resident memory of the process", "bytes", "0.."),
)

DEFINITIONS: tuple[MetricDefinition, ...] = (
    *LOSS,
    *VALID,
    *FINAL,
    *VALID_AVERAGED,
    *FINAL_AVERAGED,
    *ANSWERS,
    *ROUTING,
    *MARKET,
    *CRITIC,
    *PHASE,
    *PROGRESS,
    *TIME,
)
BY_RECORDED_NAME: dict[str, MetricDefinition] = {name: row for row in DEFINITIONS for name in row.names()}


def is_series(name: str) -> bool:
    """Whether the name is recorded as numbers per layer or per expert."""
    return name.endswith((f"/{BY_LAYER}", f"/{BY_EXPERT}"))


def undefined_names(names: Iterable[str]) -> list[str]:
    """Those names that the table does not know."""
    return [name for name in names if name not in BY_RECORDED_NAME]


def warn_if_undefined(names: Iterable[str]) -> None:
    """UndefinedMetricWarning for each unknown name, with the nearest known one."""
    for name in undefined_names(names):
        near = nearest(name, BY_RECORDED_NAME)
        hint = f"; did you mean {near}?" if near else ""
        warnings.warn(f"{name}: no such metric in metric_definitions.py{hint}", UndefinedMetricWarning, stacklevel=3)


def markdown_table() -> str:
    """All definitions as one Markdown table for the documentation."""
    return "\n".join(_markdown_lines())


def _markdown_lines() -> Iterator[str]:
    yield "| metric | definition | unit | range | also as |"
    yield "|---|---|---|---|---|"
    for row in DEFINITIONS:
        forms = ", ".join(form for form in row.forms if form)
        cells = (f"`{row.name}`", row.definition, row.unit, row.range, forms)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
