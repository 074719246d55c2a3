"""The published presets, stated here a second time and independently of conf/."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from compositions import run_config

from camoe.config.economy import V18Config, V21Config

GROUPS = (
    "rwkv_backbone",
    "router_gate",
    "rwkv_experts",
    "transformer_experts",
    "bridge",
    "critic",
    "embedding_head",
)
ON, BIDS, OFF = (True, True), (True, False), (False, False)
SEVEN: dict[str, tuple[int, tuple[float, ...], tuple[bool, bool]]] = {
    "prewarm": (2000, (0, 1, 0, 0, 1, 0, 0), OFF),
    "warm": (3000, (0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.35), BIDS),
    "criticwarm": (4000, (0, 0, 0, 0, 0, 2, 0), ON),
    "prenormal": (3000, (0.35, 0.7, 0.6, 0.8, 0.8, 1.6, 0.5), ON),
    "normal": (40000, (0.7, 1, 1, 1, 1, 1, 0.8), ON),
    "sft": (0, (0.5, 0.6, 0.8, 0.8, 0.6, 0.5, 0.8), ON),
    "rlhf": (0, (0.3, 0.4, 0.5, 0.5, 0.4, 0.6, 0.6), ON),
}
STEPS = {
    "seven": (2000, 3000, 4000, 3000, 40000, 0, 0),
    "seven_toy": (100, 150, 200, 100, 450, 0, 0),
    "pilot": (1000, 2000, 2000, 2000, 23000, 0, 0),
}
V21 = {
    "total_capital": (10000, 1000),
    "min_capital_share": (0.05, 0.05),
    "tax_threshold": (2.0, 1.5),
    "tax_rate": (0.1, 0.2),
    "qe_low_ratio": (0.85, 0.85),
    "qe_high_ratio": (1.2, 1.2),
    "qe_inject_ratio": (0.2, 0.15),
    "qe_drain_ratio": (0.1, 0.08),
    "qe_floor_alloc_ratio": (0.7, 0.7),
    "base_compute_floor_ratio": (0.06, 0.08),
    "critic_bankrupt_threshold_ratio": (0.2, 0.2),
    "bailout_base": (1000, 500),
    "bailout_decay": (0.65, 0.65),
    "bailout_min": (200, 100),
    "repay_ratio": (0.25, 0.25),
    "restructure_alpha": (0.12, 0.12),
    "donor_topk": (2, 2),
    "idle_threshold": (0.01, 0.01),
    "idle_tax_rate": (0.02, 0.02),
    "depreciation_rate": (0.001, 0.001),
    "base_commission": (0.8, 0.8),
    "dividend_scale": (0.6, 0.4),
    "dividend_std_factor": (0.5, 0.5),
    "vc_affinity_threshold": (0.15, 0.15),
    "vc_low_cap_ratio": (0.85, 0.85),
    "vc_selected_threshold": (0.01, 0.01),
    "vc_inject_ratio": (0.01, 0.01),
    "vc_max_inject_ratio": (0.12, 0.12),
    "alpha_init": (0.05, 0.05),
    "alpha_ema": (0.98, 0.98),
    "alpha_step": (0.2, 0.2),
    "alpha_min": (0, 0),
    "alpha_max": (1, 1),
    "criticwarm_reward_scale": (2.0, 2.0),
    "criticwarm_penalty_scale": (0.4, 0.4),
    "critic_bonus_scale": (0.2, 0.2),
    "critic_bonus_low": (-0.1, -0.1),
    "critic_bonus_high": (0.3, 0.3),
}
pytestmark = pytest.mark.usefixtures("hydra")

PILOT = {
    "n_embd": 768,
    "n_layer": 12,
    "head_size": 64,
    "prefix_len": 32,
    "low_rank": 32,
    "experts": (3, 1),
    "batch": (8e-5, 512, 4, 12),
    "checkpointing": False,
    "router": (0.03, 0.05),
    "capital": 1000,
    "steps": STEPS["pilot"],
}
LARGE = {
    "n_embd": 1024,
    "n_layer": 16,
    "head_size": 64,
    "prefix_len": 48,
    "low_rank": 64,
    "experts": (6, 2),
    "batch": (1e-4, 1024, 6, 8),
    "checkpointing": True,
    "router": (0.02, 0.01),
    "capital": 10000,
    "steps": STEPS["seven"],
}
TOY = {**LARGE, "batch": (8e-5, 512, 1, 24), "steps": STEPS["seven_toy"]}


@pytest.mark.parametrize(("preset", "published"), [("pilot", PILOT), ("0.4b", LARGE), ("0.4b_toy", TOY)])
def test_model_preset_brings_its_companions(preset: str, published: dict[str, Any]) -> None:
    config = run_config(f"model={preset}")
    model, train, router = config.model, config.train, config.router
    assert isinstance(config.economy, V21Config)
    assert {
        "n_embd": model.n_embd,
        "n_layer": model.n_layer,
        "head_size": model.head_size,
        "prefix_len": model.prefix_len,
        "low_rank": model.low_rank,
        "experts": (config.experts.rwkv_ffn, config.experts.transformer_prefix),
        "batch": (train.base_lr, train.ctx_len, train.micro_batch, train.grad_accum),
        "checkpointing": train.recompute == "block",
        "router": (router.noise_std, router.losses.switch.weight),
        "capital": config.economy.total_capital,
        "steps": tuple(phase.steps for phase in config.phase.schedule.values()),
    } == published
    assert model.tie_embeddings
    assert (router.kind, router.top_k) == ("dual_path", 2)
    assert (config.tokenizer.kind, config.tokenizer.vocab_size) == ("rwkv_world", 65536)


@pytest.mark.parametrize(("option", "column"), [("v21", 0), ("pilot", 1)])
def test_economy_constants(option: str, column: int) -> None:
    economy = run_config(f"economy={option}").economy
    assert isinstance(economy, V21Config)
    assert {name: getattr(economy, name) for name in V21} == {name: both[column] for name, both in V21.items()}
    assert economy.critic.init_capital == 10000
    assert economy.critic.bid_scale == 0.05


def test_v18_money_control() -> None:
    economy = run_config("economy=v18").economy
    assert isinstance(economy, V18Config)
    assert (economy.high_ratio, economy.shrink, economy.low_ratio, economy.lift) == (1.5, 0.95, 0.5, 0.01)


def test_seven_phases() -> None:
    schedule = run_config("phase=seven").phase.schedule
    assert list(schedule) == list(SEVEN)
    for name, (steps, multipliers, switches) in SEVEN.items():
        phase = schedule[name]
        assert phase.steps == steps, name
        assert tuple(phase.multipliers()[group] for group in GROUPS) == multipliers, name
        assert (phase.market_bids, phase.market_settles) == switches, name
    assert (schedule["sft"].objective, schedule["rlhf"].objective) == ("instruction", "preference")
    assert {phase.objective for name, phase in schedule.items() if name not in ("sft", "rlhf")} == {"language_model"}
    assert [phase.data_profile for phase in schedule.values()] == ["pretrain"] * 5 + ["sft", "preferences"]


@pytest.mark.parametrize("option", ["seven_toy", "pilot", "tiny"])
def test_other_lengths_of_the_seven_differ_in_steps_only(option: str) -> None:
    schedule = run_config(f"phase={option}").phase.schedule
    seven = run_config("phase=seven").phase.schedule
    if option in STEPS:
        assert tuple(phase.steps for phase in schedule.values()) == STEPS[option]
    differing = {
        f"{name}.{setting}"
        for name, phase in schedule.items()
        for setting, value in asdict(phase).items()
        if value != getattr(seven[name], setting)
    }
    assert {setting for setting in differing if not setting.endswith(".steps")} == (
        {"warm.router_gate"} if option == "pilot" else set()
    )
    if option == "pilot":
        assert schedule["warm"].router_gate == 0.5


def test_v18_phases() -> None:
    schedule = run_config("phase=v18").phase.schedule
    prewarm, warmup, normal = schedule.values()
    assert (prewarm.steps, prewarm.steps + warmup.steps) == (4000, 10000)
    assert normal.steps > 0
    assert [phase.rwkv_backbone for phase in schedule.values()] == [0, 1, 1]
    assert all(phase.market_bids and phase.market_settles for phase in schedule.values())


def test_flat_is_one_phase() -> None:
    (phase,) = run_config("phase=flat").phase.schedule.values()
    assert set(phase.multipliers().values()) == {1.0}
    assert phase.market_bids
    assert phase.market_settles


@pytest.mark.parametrize(
    ("option", "rwkv", "transformer"),
    [("3r1t", 3, 1), ("6r2t", 6, 2), ("8r0t", 8, 0), ("4r0t", 4, 0), ("2r2t", 2, 2), ("0r4t", 0, 4)],
)
def test_expert_mixes(option: str, rwkv: int, transformer: int) -> None:
    experts = run_config(f"experts={option}").experts
    assert (experts.rwkv_ffn, experts.transformer_prefix) == (rwkv, transformer)


@pytest.mark.parametrize("companion_first", [True, False])
def test_command_line_beats_the_model_preset(companion_first: bool) -> None:
    chosen = ["experts=4r0t", "economy=off", "phase=flat", "tokenizer=byte", "router.noise_std=0.5", "train.ctx_len=64"]
    config = run_config(*([*chosen, "model=0.4b"] if companion_first else ["model=0.4b", *chosen]))
    assert config.model.n_embd == 1024
    assert (config.experts.rwkv_ffn, config.experts.transformer_prefix) == (4, 0)
    assert config.economy.kind == "off"
    assert list(config.phase.schedule) == ["train"]
    assert config.tokenizer.vocab_size == 256
    assert (config.router.noise_std, config.train.ctx_len) == (0.5, 64)
    assert config.train.micro_batch == 6


def test_one_seed_sets_all_three_and_each_can_be_set_alone() -> None:
    assert asdict(run_config("seed=3").seeds) == {"init": 3, "data": 3, "router_noise": 3}
    assert asdict(run_config("seed=3", "seeds.data=7").seeds) == {"init": 3, "data": 7, "router_noise": 3}
