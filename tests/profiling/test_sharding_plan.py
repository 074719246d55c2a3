"""The plan against the arithmetic written out, and against what cannot fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from camoe.model.language_model import LanguageModel
from camoe.profiling.sharding_plan import USABLE, ShardedModel, sharding_plan
from tests.small_run import small_run

GB = 10**9
SMALL = ShardedModel(
    experts=2 * GB, rest=GB, unit_experts=GB // 4, unit_rest=GB // 8, n_expert=8, moments=2.0, activations=3 * GB
)


def test_what_fits_one_device_is_not_spread() -> None:
    plan = sharding_plan(SMALL, 80 * GB)
    assert plan is not None
    assert (plan.devices, plan.gathered) == (1, 0.0)
    assert plan.total == (4 + 4 + 8) * 3 * GB + 3 * GB


def test_two_devices_halve_the_state_and_gather_a_block() -> None:
    plan = sharding_plan(SMALL, 40 * GB)
    assert plan is not None
    assert (plan.expert_ranks, plan.sharded_ranks, plan.tensor_ranks) == (2, 1, 1)
    assert plan.weights == plan.gradients == plan.moments / 2 == 4 * 3 * GB / 2
    assert plan.gathered == 8 * GB / 8  # experts live whole on their ranks; the rest is put together
    assert plan.activations == 3 * GB


def test_more_shards_gather_experts_too() -> None:
    large = replace(SMALL, experts=400 * GB, rest=80 * GB)
    plan = sharding_plan(large, 80 * GB)
    assert plan is not None
    assert (plan.devices, plan.expert_ranks, plan.sharded_ranks) == (128, 8, 16)
    assert plan.gathered == 8 * (GB / 8 + GB / 4 / 8)
    assert plan.total <= USABLE * 80 * GB
    assert 2 * (plan.weights + plan.gradients + plan.moments) + plan.gathered + plan.activations > USABLE * 80 * GB


def test_tensor_ranks_when_a_block_or_its_activations_are_too_large() -> None:
    plan = sharding_plan(replace(SMALL, activations=200 * GB), 80 * GB)
    assert plan is not None
    assert (plan.devices, plan.tensor_ranks) == (4, 4)
    assert sharding_plan(replace(SMALL, activations=800 * GB), 80 * GB) is None


@pytest.mark.parametrize(("n_expert", "ranks"), [(6, 2), (12, 4), (5, 1), (8, 8)])
def test_expert_ranks_divide_experts_and_devices(n_expert: int, ranks: int) -> None:
    plan = sharding_plan(replace(SMALL, experts=20 * GB, n_expert=n_expert), 80 * GB)
    assert plan is not None
    assert (plan.devices, plan.expert_ranks) == (8, ranks)


def test_a_model_is_measured_without_being_allocated() -> None:
    config = small_run()
    with torch.device("meta"):
        model = LanguageModel(config)
    shares = ShardedModel.of(model, moments=2.0, activations=5)
    stored = {name: p.numel() for name, p in model.named_parameters()}
    experts = {name: size for name, size in stored.items() if ".mixture.experts." in name}
    assert shares.experts == sum(experts.values())
    assert shares.experts + shares.rest == sum(stored.values())
    last = [size for name, size in experts.items() if name.startswith("blocks.1.")]
    assert shares.unit_experts == sum(last)
    assert shares.unit_rest == sum(size for name, size in stored.items() if name.startswith("blocks.1.")) - sum(last)
    assert (shares.n_expert, shares.activations) == (config.experts.total, 5)
