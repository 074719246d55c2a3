"""The settings that do nothing in a composition, and why: one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from camoe.config.calibrated import CalibratedConfig
from camoe.config.checkpoint_job import MAKE_A_FOLDER, NEED_ANOTHER
from camoe.config.data import MIXTURES
from camoe.config.economy import V21Config
from camoe.config.experts import WITH_HIDDEN
from camoe.config.idle_mechanisms import IDLE_MECHANISMS, has
from camoe.config.job import READ_A_RUN, TAKE_A_RUN
from camoe.config.learned_router import (
    BaseConfig,
    FlopsTargetConfig,
    GateConfig,
    LearnedRouterConfig,
    LossFreeConfig,
    NoisyGateConfig,
    QuietGateConfig,
    SoftMoEConfig,
)
from camoe.config.restart_cycles import RESTARTS
from camoe.config.router import WITHOUT_GATE
from camoe.config.run import RunConfig


@dataclass(frozen=True)
class Rule:
    """The settings (dotted, `*` allowed) that do nothing whenever `idle` holds, and why."""

    settings: tuple[str, ...]
    idle: Callable[[RunConfig], bool]
    why: str


def _rules_of_mechanisms() -> Iterator[Rule]:
    for idle in IDLE_MECHANISMS:
        for value in idle.off:
            names = tuple(f"economy.{name}" for name in idle.settings)
            yield Rule(names, _when(idle.switch, value), f"economy.{idle.switch} is {value}")


def _when(switch: str, value: str) -> Callable[[RunConfig], bool]:
    return lambda run: has(run.economy, switch, value)


OF_BENCHMARKS = ("evaluation.task_data", "evaluation.limit", "evaluation.group_field")
RULES = (
    Rule(
        ("model.deep_embed_shared", "model.deep_embed_query_dim", "model.deep_embed_cache_dim"),
        lambda run: not run.model.deep_embed_attention,
        "model.deep_embed_attention is false",
    ),
    Rule(
        ("model.attention_rotary", "model.attention_kv_heads", "model.attention_query_gain"),
        lambda run: not run.model.attention_layers,
        "no layer of model.layers has attention",
    ),
    Rule(("model.skip_connections",), lambda run: run.model.n_layer == 1, "model.n_layer is 1"),
    Rule(
        ("model.attention_ratio",),
        lambda run: run.model.layers in ("all_rwkv", "explicit"),
        "model.layers needs no ratio",
    ),
    Rule(
        ("model.attention_period",),
        lambda run: run.model.layers not in ("interleave", "hybrid"),
        "model.layers spaces no attention layers",
    ),
    Rule(("model.attention_indices",), lambda run: run.model.layers != "explicit", "model.layers is not explicit"),
    Rule(
        ("model.prefix_len", "model.low_rank"),
        lambda run: not run.experts.transformer_prefix,
        "experts.transformer_prefix is 0",
    ),
    Rule(
        ("experts.hidden_ratio", "experts.hidden"),
        lambda run: not any(run.experts.has(kind) for kind in WITH_HIDDEN),
        "no expert has a hidden layer",
    ),
    Rule(("experts.hidden_ratio",), lambda run: run.experts.hidden is not None, "experts.hidden is given"),
    Rule(("experts.token_shift",), lambda run: not run.experts.has("rwkv_ffn"), "experts.rwkv_ffn is 0"),
    Rule(("experts.shared_kind",), lambda run: not run.experts.shared, "experts.shared is 0"),
    Rule(
        ("experts.gelu_ffn",),
        lambda run: run.experts.policy == "by_mixer" and not run.model.attention_layers,
        "no layer has attention (model.layers)",
    ),
    Rule(
        ("experts.gated_channel_mix",),
        lambda run: run.experts.policy == "by_mixer" and len(run.model.attention_layers) == run.model.n_layer,
        "every layer has attention (model.layers)",
    ),
    Rule(
        ("router.capacity.factor", "router.capacity.scope", "router.capacity.policy"),
        lambda run: run.router.capacity.mode == "off",
        "router.capacity.mode is off",
    ),
    Rule(
        ("router.losses.switch.scope",),
        lambda run: not run.router.losses.switch.weight,
        "router.losses.switch.weight is 0",
    ),
    Rule(("router.losses.z.kind",), lambda run: not run.router.losses.z.weight, "router.losses.z.weight is 0"),
    Rule(
        ("router.losses.cost.scope",), lambda run: not run.router.losses.cost.weight, "router.losses.cost.weight is 0"
    ),
    Rule(
        ("router.gate_hidden", "router.gate_activation"),
        lambda run: isinstance(run.router, GateConfig) and run.router.gate == "linear",
        "router.gate is linear",
    ),
    Rule(
        ("router.noise", "router.noise_target"),
        lambda run: isinstance(run.router, NoisyGateConfig) and not run.router.noise_std,
        "router.noise_std is 0",
    ),
    Rule(
        ("router.gate_hidden", "router.gate_activation"),
        lambda run: isinstance(run.router, (BaseConfig, SoftMoEConfig)),
        "router.kind has one matrix for a gate",
    ),
    Rule(
        ("router.noise_std",),
        lambda run: isinstance(run.router, (BaseConfig, QuietGateConfig, SoftMoEConfig)),
        "router.kind has no noise",
    ),
    Rule(
        ("router.flops_rule", "router.flops_gain"),
        lambda run: isinstance(run.router, FlopsTargetConfig) and run.router.flops_target is None,
        "router.flops_target is null",
    ),
    Rule(
        ("router.bias_momentum", "router.bias_max", "router.bias_warmup"),
        lambda run: isinstance(run.router, LossFreeConfig) and run.router.bias_rule != "momentum",
        "router.bias_rule is not momentum",
    ),
    Rule(
        ("router.weights",),
        lambda run: isinstance(run.router, LearnedRouterConfig) and run.router.top_k == 1,
        "router.top_k is 1: the winner keeps its score",
    ),
    Rule(
        ("router.losses.*",),
        lambda run: not run.router.learns,
        "the router is static",
    ),
    Rule(
        ("router.gate_activation", "router.noise_std"),
        lambda run: run.router.kind in WITHOUT_GATE,
        "the router has no gate",
    ),
    Rule(
        ("router.gate_hidden",),
        lambda run: run.router.kind in WITHOUT_GATE and run.router.kind != "dense",
        "router.kind has no gate, nor matches the cost of one",
    ),
    Rule(("router.top_k",), lambda run: run.router.kind == "learned_soft", "all experts win in router=learned_soft"),
    Rule(
        ("seeds.router_noise",),  # it draws the calibrated economy's experiments too
        lambda run: not run.router.draws_noise and not isinstance(run.economy, CalibratedConfig),
        "the elections are without noise",
    ),
    Rule(
        ("economy.min_capital_share",),
        lambda run: (
            isinstance(run.economy, V21Config) and run.economy.min_capital_share < run.economy.base_compute_floor_ratio
        ),
        "the floor is the larger of it and economy.base_compute_floor_ratio",
    ),
    Rule(
        ("economy.base_compute_floor_ratio",),
        lambda run: (
            isinstance(run.economy, V21Config) and run.economy.base_compute_floor_ratio < run.economy.min_capital_share
        ),
        "the floor is the larger of it and economy.min_capital_share",
    ),
    Rule(
        ("phase.schedule.*.market_bids", "phase.schedule.*.market_settles"),
        lambda run: run.economy.kind == "off",
        "economy.kind is off",
    ),
    Rule(
        ("optimizer.decay_fraction", "optimizer.final_ratio"),
        lambda run: run.optimizer.decay == "none",
        "optimizer.decay is none",
    ),
    Rule(
        ("averaging.start", "averaging.every", "averaging.decay"),
        lambda run: run.averaging.kind == "none",
        "averaging.kind is none",
    ),
    Rule(("averaging.decay",), lambda run: run.averaging.kind == "swa", "averaging.kind is swa"),
    Rule(
        ("optimizer.muon_momentum", "optimizer.muon_router"),
        lambda run: run.optimizer.kind != "muon",
        "optimizer.kind is not muon",
    ),
    Rule(
        ("optimizer.cycle_steps", "optimizer.cycle_growth", "optimizer.cycle_decay"),
        lambda run: run.optimizer.decay != RESTARTS,
        f"optimizer.decay is not {RESTARTS}",
    ),
    Rule(("kernel.chunk_len",), lambda run: run.kernel.wkv == "cuda", "kernel.wkv is cuda"),
    Rule(("kernel.chunk_len",), lambda run: run.kernel.wkv == "native", "kernel.wkv is native"),
    Rule(("kernel.chunk_len",), lambda run: run.kernel.wkv == "reference", "kernel.wkv is reference"),
    Rule(
        ("kernel.wkv", "kernel.chunk_len", "kernel.fast_math", "kernel.compile"),
        lambda run: not run.model.rwkv_layers,
        "no layer of model.layers has TimeMix",
    ),
    Rule(("kernel.fast_math",), lambda run: run.kernel.wkv not in ("auto", "cuda"), "kernel.wkv is not cuda"),
    Rule(("kernel.fast_math",), lambda run: run.kernel.device == "cpu", "kernel.device is cpu"),
    Rule(
        ("tracking.uri", "tracking.experiment", "tracking.every_series"),
        lambda run: not run.tracking.mlflow,
        "tracking.mlflow is false",
    ),
    Rule(("train.init_noise",), lambda run: run.train.init_from is None, "train.init_from is null"),
    Rule(("train.init_noise",), lambda run: not run.experts.has("rwkv_ffn"), "experts.rwkv_ffn is 0"),
    Rule(("train.init_*",), lambda run: run.job.name != "train", "job.name is not train"),
    Rule(("job.run",), lambda run: run.job.name not in TAKE_A_RUN, "the job takes no run folder"),
    Rule(("evaluation.stride",), lambda run: run.evaluation.mode != "sliding", "evaluation.mode is not sliding"),
    Rule(
        ("evaluation.domain_field", "evaluation.tasks", *OF_BENCHMARKS),
        lambda run: run.job.name != "evaluate",
        "job.name is not evaluate",
    ),
    Rule(OF_BENCHMARKS, lambda run: not run.evaluation.tasks, "evaluation.tasks is empty"),
    Rule(("job.weights",), lambda run: run.job.name not in READ_A_RUN, "the job reads no weights"),
    Rule(
        ("job.prompts_file", "job.interactive", "job.save_state", "job.load_state"),
        lambda run: run.job.name != "generate",
        "job.name is not generate",
    ),
    Rule(
        ("job.prompt",),
        lambda run: run.job.interactive or run.job.prompts_file is not None,
        "the prompts are read elsewhere (job.interactive, job.prompts_file)",
    ),
    Rule(("job.repetition_window",), lambda run: run.job.repetition_penalty == 1, "job.repetition_penalty is 1: none"),
    Rule(("job.steps", "job.nominal_params"), lambda run: run.job.name != "profile", "job.name is not profile"),
    Rule(
        ("job.format.*", "job.compare_formats", "job.zstd_level", "job.max_bytes"),
        lambda run: run.job.name != "export",
        "job.name is not export",
    ),
    Rule(
        ("job.output",),
        lambda run: run.job.name not in ("export", "export_rwkv", "checkpoint", "train_tokenizer", "plan"),
        "the job writes no such file",
    ),
    Rule(("job.weights",), lambda run: run.job.name == "replay_batch", "job=replay_batch runs the state that was kept"),
    Rule(("job.plan.*",), lambda run: run.job.name != "plan", "job.name is not plan"),
    Rule(("job.plan.measured",), lambda run: run.job.plan.device != "cpu", "job.plan.device is not cpu"),
    Rule(("job.plan.per_node",), lambda run: run.job.plan.device == "cpu", "job.plan.device is cpu"),
    Rule(("job.checkpoint.*",), lambda run: run.job.name != "checkpoint", "job.name is not checkpoint"),
    Rule(
        ("job.output",),
        lambda run: run.job.name == "checkpoint" and run.job.checkpoint.action not in MAKE_A_FOLDER,
        "job.checkpoint.action only looks",
    ),
    Rule(
        ("job.checkpoint.reset",),
        lambda run: run.job.checkpoint.action != "reset",
        "job.checkpoint.action is not reset",
    ),
    Rule(
        ("job.checkpoint.others",),
        lambda run: run.job.checkpoint.action not in NEED_ANOTHER,
        "job.checkpoint.action takes one checkpoint",
    ),
    Rule(("data.path", "data.text_field"), lambda run: run.data.source != "local", "data.source is not local"),
    Rule(
        ("data.mixture_seed",),
        lambda run: all(len(run.data.named(profile)) < 2 for profile in MIXTURES),
        "no profile has several sources",
    ),
    *_rules_of_mechanisms(),
)
