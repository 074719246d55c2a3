"""What arms of an ablation share: initial weights, training text, and three seeds that do one thing each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from camoe.config.run import RunConfig
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.model.weights_hash import weights_hash
from camoe.training.trainer import Trainer
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

WITHOUT_MARKET_GROUPS = (
    "rwkv_backbone",
    "embedding_head",
    "router_gate",
    "rwkv_experts",
    "transformer_experts",
    "bridge",
)
ARMS: dict[str, RunConfig] = {
    "off": small_run("off"),
    "v21": small_run("v21"),
    "v18": small_run("v18", router={"kind": "market_only"}),
    "calibrated": small_run("calibrated", economy={"credit": {"share": 1.0}, "alpha": {"holdout_share": 0.3}}),
    "shadow": small_run("calibrated", economy={"placebo": {"kind": "shadow"}}),
    **{kind: small_run("off", router={"kind": kind}) for kind in ("frozen", "modulo_prior")},
    "no_noise": small_run("off", router={"noise_std": 0.0, "losses": {"switch": {"weight": 0.0}}}),
}


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "off"])
def test_economies_and_routers_share_every_parameter_that_they_both_have(arm: str) -> None:
    one, other = LanguageModel(ARMS["off"]), dict(LanguageModel(ARMS[arm]).named_parameters())
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, other.pop(name)), name
    assert all(".critic." in name for name in other)
    hashes = weights_hash(one), weights_hash(LanguageModel(ARMS[arm]))
    for group in WITHOUT_MARKET_GROUPS:
        assert hashes[0][group] == hashes[1][group]


@pytest.mark.parametrize("arm", ["calibrated"])
def test_economies_share_their_critics(arm: str) -> None:
    assert weights_hash(LanguageModel(ARMS["v21"]))["critic"] == weights_hash(LanguageModel(ARMS[arm]))["critic"]


MIXES = {"3r1t": (3, 1), "4r0t": (4, 0), "8r0t": (8, 0), "2r2t": (2, 2), "6r2t": (6, 2)}


def _mix(name: str) -> LanguageModel:
    rwkv, transformer = MIXES[name]
    return LanguageModel(small_run("off", experts={"rwkv_ffn": rwkv, "transformer_prefix": transformer}))


def _experts(model: LanguageModel, layer: int, transformer: bool) -> list[dict[str, Tensor]]:
    """Parameters of each expert of one kind."""
    experts = model.blocks[layer].mixture.expert_list()  # type: ignore[operator, union-attr]
    return [dict(expert.named_parameters()) for expert in experts if expert.needs_prefix == transformer]


@pytest.mark.parametrize(("one", "other"), list(pairwise(MIXES)))
def test_expert_mixes_share_backbone_and_the_experts_and_gate_nets_of_the_same_number(one: str, other: str) -> None:
    first, second = _mix(one), _mix(other)
    hashes = weights_hash(first), weights_hash(second)
    assert hashes[0]["rwkv_backbone"] == hashes[1]["rwkv_backbone"]
    assert hashes[0]["embedding_head"] == hashes[1]["embedding_head"]
    if "0t" not in one + other:
        assert hashes[0]["bridge"] == hashes[1]["bridge"]
    for layer in range(2):
        for transformer in (False, True):
            for mine, theirs in zip(_experts(first, layer, transformer), _experts(second, layer, transformer)):  # noqa: B905
                assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
        gates = [model.blocks[layer].mixture.router.gate for model in (first, second)]  # type: ignore[union-attr]
        shared = min(sum(MIXES[one]), sum(MIXES[other]))
        for name, value in gates[0].named_parameters():
            rows = shared * (64 if name.endswith("_in") else 1)
            assert torch.equal(value[:rows], gates[1].get_parameter(name)[:rows]), name


def test_no_two_experts_of_a_model_start_equal() -> None:
    rwkv = [expert["key.weight"] for layer in range(2) for expert in _experts(_mix("4r0t"), layer, False)]
    assert not any(torch.equal(a, b) for i, a in enumerate(rwkv) for b in rwkv[:i])


def _after(config: RunConfig, place: Path, steps: int = 3) -> dict[str, Any]:
    """What each source of chance did: weights before the first step, text and noise of the last, and the hash."""
    with small_trainer(config, place) as trainer:
        start = weights_hash(trainer.model)
        generators = _global_generators()
        for _ in range(steps):
            trainer.advance()
        assert _global_generators() == generators, "training draws from a generator that others share"
        return {"weights": start, **_chance_of(trainer, steps)}


def _chance_of(trainer: Trainer, step: int) -> dict[str, Any]:
    batches = trainer.batches.of_step(step)
    return {
        "text": torch.cat([micro.batch.inputs for micro in batches]).tolist(),
        "noise": torch.cat([micro.terms.noise for micro in batches if micro.terms.noise is not None]).tolist(),
        "held_out": torch.cat([micro.terms.market_off for micro in batches]).tolist(),
        "hash": trainer.loader.stream_hash(step),
    }


def _global_generators() -> tuple[bytes, bytes]:
    keys = np.random.get_state(legacy=True)[1]
    return torch.get_rng_state().numpy().tobytes(), np.asarray(keys).tobytes()


def test_every_arm_reads_the_same_text_whatever_its_market_and_router_draw(tmp_path: Path) -> None:
    seen = {arm: _after(config, tmp_path / arm) for arm, config in ARMS.items()}
    for arm, found in seen.items():
        assert found["text"] == seen["off"]["text"], arm
        assert found["hash"] == seen["off"]["hash"], arm
    assert any(seen["calibrated"]["held_out"]), "nothing was held out, so nothing is proved"


def test_another_mix_or_batch_cut_reads_the_same_text(tmp_path: Path) -> None:
    one = _after(small_run("off"), tmp_path / "a")
    mix = _after(small_run("off", experts={"rwkv_ffn": 5}), tmp_path / "b")
    cut = _after(small_run("off", train={"micro_batch": 1, "grad_accum": 4}), tmp_path / "c")
    assert one["hash"] == mix["hash"] == cut["hash"]


@pytest.mark.parametrize(
    ("seed", "changes"), [("init", {"weights"}), ("data", {"text", "hash"}), ("router_noise", {"noise", "held_out"})]
)
def test_a_seed_changes_its_own_thing_and_nothing_else(seed: str, changes: set[str], tmp_path: Path) -> None:
    market = {"alpha": {"holdout_share": 0.5}}
    one = _after(small_run("calibrated", economy=market), tmp_path / "one", steps=1)
    other = _after(small_run("calibrated", economy=market, seeds={seed: 12}), tmp_path / "other", steps=1)
    assert {name for name in one if one[name] != other[name]} == changes
    if seed == "init":
        moved = [group for group, value in one["weights"].items() if value != other["weights"][group]]
        assert moved == [group for group, members in parameter_groups(LanguageModel(ARMS["v21"])).items() if members]
