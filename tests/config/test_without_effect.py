"""Settings that do nothing are named, and only those."""

from __future__ import annotations

from functools import cache

import pytest
from compositions import run_config

from camoe.config.idle_mechanisms import IDLE_MECHANISMS
from camoe.config.idle_rules import RULES
from camoe.config.without_effect import without_effect

NO_MARKET = ["economy=off", "phase.schedule.criticwarm.steps=0"]
TOPK = ["router=topk", *NO_MARKET]
IDLE = [
    (["model.deep_embed_query_dim=64"], ["model.deep_embed_attention=true"]),
    (["experts=4r0t", "model.attention_rotary=true"], ["model.layers=top"]),
    (["experts=4r0t", "model.attention_kv_heads=2"], ["model.layers=top"]),
    (["experts=4r0t", "model.attention_query_gain=true"], ["model.layers=top"]),
    (["model.n_layer=1", "model.skip_connections=true"], ["model.n_layer=2"]),
    (["experts=4r0t", "model.attention_ratio=0.5"], ["model.layers=top"]),
    (
        ["experts=4r0t", "model.layers=top", "model.attention_period=2"],
        ["model.layers=interleave", "model.attention_ratio=0.5"],
    ),
    (["experts=4r0t", "model.attention_indices=[1]"], ["model.layers=explicit"]),
    (["experts=4r0t", "model.prefix_len=4"], ["experts=3r1t"]),
    (["experts=0r4t", "experts.token_shift=false"], ["experts=2r2t"]),
    (["experts=0r4t", "experts.hidden_ratio=2"], ["experts=2r2t"]),
    (["experts.hidden=64", "experts.hidden_ratio=2"], ["experts.hidden=null"]),
    (["experts.shared_kind=swiglu"], ["experts.shared=1"]),
    (["experts=cdrmix", "experts.gelu_ffn=8"], ["model.layers=top"]),
    (
        ["experts=cdrmix", "model.layers=top", "model.attention_ratio=1", "experts.gated_channel_mix=8"],
        ["model.attention_ratio=0.5"],
    ),
    (["router.capacity.factor=2"], ["router.capacity.mode=observe"]),
    (["router.losses.switch.weight=0", "router.losses.switch.scope=sequence"], ["router.losses.switch.weight=0.1"]),
    (["router.losses.z.kind=mean_square"], ["router.losses.z.weight=0.1"]),
    (["router.losses.cost.scope=sequence"], ["router.losses.cost.weight=0.1"]),
    ([*TOPK, "router.gate=linear", "router.gate_hidden=8"], ["router.gate=confidence"]),
    ([*TOPK, "router.noise=jitter"], ["router.noise_std=0.1"]),
    (["router=base", *TOPK[1:], "router.gate_hidden=8"], ["router=sinkhorn"]),
    (["router=remoe", *TOPK[1:], "router.noise_std=1"], ["router=sinkhorn"]),
    ([*TOPK, "router.flops_gain=0.2"], ["router.flops_target=1"]),
    (
        ["router=loss_free", *TOPK[1:], "router.bias_max=1"],
        ["router.bias_rule=momentum"],
    ),
    ([*TOPK, "router.top_k=1", "router.weights=raw"], ["router.top_k=2"]),
    (["router.noise_std=0", "seeds.router_noise=4"], ["router.noise_std=0.1"]),
    (["router=frozen", *NO_MARKET, "router.losses.switch.weight=0.1"], ["router=dual_path"]),
    (["router=random", *NO_MARKET, "router.noise_std=0.1"], ["router=frozen"]),
    (["router=random", *NO_MARKET, "router.gate_hidden=8"], ["router=dense"]),
    (["router=learned_soft", *NO_MARKET, "router.top_k=1"], ["router=modulo_prior"]),
    (["economy.min_capital_share=0.01"], ["economy.min_capital_share=0.09"]),
    (["economy.min_capital_share=0.3", "economy.base_compute_floor_ratio=0.1"], ["economy.min_capital_share=0.01"]),
    (["economy=off", "phase.schedule.normal.market_bids=true", "phase.schedule.criticwarm.steps=0"], ["economy=v18"]),
    (["optimizer.decay=none", "optimizer.final_ratio=0.2"], ["optimizer.decay=cosine"]),
    (["optimizer.decay=cosine", "optimizer.cycle_steps=100"], ["optimizer.decay=cosine_restarts"]),
    (["evaluation.stride=8"], ["evaluation.mode=sliding"]),
    (["evaluation.task_data=d"], ["job=evaluate", "job.run=r", "evaluation.tasks=[a]"]),
    (["job=evaluate", "job.run=r", "evaluation.limit=3"], ["evaluation.tasks=[a]", "evaluation.task_data=d"]),
    (["job=evaluate", "job.run=r", "evaluation.group_field=x"], ["evaluation.tasks=[a]", "evaluation.task_data=d"]),
    (["optimizer=adamw", "optimizer.muon_momentum=0.9"], ["optimizer=muon"]),
    (["averaging=none", "averaging.every=2"], ["averaging=swa"]),
    (["averaging=swa", "averaging.decay=0.9"], ["averaging=ema"]),
    (["job.weights=averaged"], ["job=evaluate", "job.run=r"]),
    (
        ["experts=4r0t", "model.layers=top", "model.attention_ratio=1", "kernel.compile=time_mix"],
        ["model.attention_ratio=0.5"],
    ),
    (["kernel=cuda", "kernel.chunk_len=8"], ["kernel=chunked"]),
    (["kernel=native", "kernel.chunk_len=8"], ["kernel=chunked"]),
    (["kernel=reference", "kernel.chunk_len=8"], ["kernel=chunked"]),
    (["kernel=chunked", "kernel.fast_math=true"], ["kernel=cuda"]),
    (["kernel.device=cpu", "kernel.fast_math=true"], ["kernel.device=cuda"]),
    (["tracking=local", "tracking.experiment=mine"], ["tracking=mlflow"]),
    (["train.init_noise=0.1"], ["train.init_from=w.pth"]),
    (["experts=0r4t", "train.init_from=w.pth", "train.init_noise=0.1"], ["experts=4r0t"]),
    (["job=profile", "train.init_from=w.pth"], ["job=train"]),
    (["job.run=old"], ["job=evaluate"]),
    (["job.save_state=text"], ["job=generate", "job.run=r"]),
    (["job=generate", "job.run=r", "job.interactive=true", "job.prompt=a"], ["job.interactive=false"]),
    (["job.repetition_window=9"], ["job.repetition_penalty=1.2"]),
    (["job.zstd_level=3", "job.format.experts=int4"], ["job=export", "job.run=old"]),
    (["job.plan.devices=8"], ["job=plan"]),
    (["job=plan", "job.plan.measured=f"], ["job.plan.device=cpu"]),
    (["job=plan", "job.plan.device=cpu", "job.plan.per_node=4"], ["job.plan.device=a100"]),
    (["job.output=f"], ["job=export", "job.run=old"]),
    (["job=replay_batch", "job.run=old", "job.weights=averaged"], ["job=evaluate"]),
    (["job.checkpoint.action=slim"], ["job=checkpoint", "job.run=old"]),
    (["job=checkpoint", "job.run=old", "job.output=f"], ["job.checkpoint.action=slim"]),
    (["job=checkpoint", "job.run=old", "job.checkpoint.reset=both"], ["job.checkpoint.action=reset"]),
    (["job=checkpoint", "job.run=old", "job.checkpoint.others=[r]"], ["job.checkpoint.action=compare"]),
    (["job.steps=2"], ["job=profile"]),
    (["job.nominal_params=1e9"], ["job=profile"]),
    (["data.mixture_seed=3"], ["data=fineweb_cosmopedia"]),
    (["data.text_field=body"], ["data=local", "data.path=x.jsonl"]),
    (["phase.schedule.warm.steps=0", "phase.schedule.warm.critic=2"], ["phase.schedule.warm.steps=1"]),
]
pytestmark = pytest.mark.usefixtures("hydra")


@cache
def _warnings(*overrides: str) -> tuple[str, ...]:
    return tuple(without_effect(run_config(*overrides), [override.partition("=")[0] for override in overrides]))


def warnings(overrides: list[str]) -> list[str]:
    return list(_warnings(*overrides))


def merged(overrides: list[str], changes: list[str]) -> list[str]:
    settings = dict(override.split("=", 1) for override in [*overrides, *changes])
    return [f"{key}={value}" for key, value in settings.items()]


@pytest.mark.parametrize(("idle", "remedy"), IDLE, ids=lambda case: ",".join(case))
def test_each_rule_fires_and_stays_quiet(idle: list[str], remedy: list[str]) -> None:
    lines = warnings(idle)
    assert any(line.startswith(f"{override.partition('=')[0]} has no effect: ") for line in lines for override in idle)
    assert not [line for line in warnings(merged(idle, remedy)) if line in lines]


def test_every_rule_has_a_case() -> None:
    """Those of the calibrated economy's mechanisms are in test_idle_mechanisms."""
    fired = "\n".join(line for idle, _ in IDLE for line in warnings(idle))
    of_mechanisms = {f"economy.{name}" for idle in IDLE_MECHANISMS for name in idle.settings}
    rules = [rule for rule in RULES if not set(rule.settings) <= of_mechanisms]
    assert [rule.settings for rule in rules if rule.why not in fired] == []


def test_the_shipped_presets_are_quiet() -> None:
    for preset in ("tiny", "pilot", "0.4b", "0.4b_toy"):
        assert warnings([f"model={preset}"]) == []
    assert warnings(["model=pilot", "experts=4r0t"]) == []


def test_phase_in_which_nothing_can_learn() -> None:
    (line,) = warnings(["economy=off"])
    assert line.startswith("phase.schedule.criticwarm has no effect: ")
