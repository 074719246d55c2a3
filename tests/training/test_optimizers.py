"""Who decays, who learns faster, and state that comes back beside its parameter."""

import pytest
import torch
from torch import nn

from camoe.config.optimizer import OptimizerConfig
from camoe.config.phase import PhaseConfig
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.training.optimizers import build_optimizer, optimizer_tensors, restore_optimizer, set_rates
from camoe.training.phases import Phase
from tests.small_run import small_run

OPTIONS = {"deep_embed_attention": True, "tie_embeddings": False}


def _by_name(model: LanguageModel, optimizer: torch.optim.Optimizer) -> dict[str, dict]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: group for group in optimizer.param_groups for parameter in group["params"]}


def test_only_weight_matrices_decay() -> None:
    model = LanguageModel(small_run(model=OPTIONS))
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.1), parameter_groups(model), "cpu")
    found = {name: group["weight_decay"] for name, group in _by_name(model, optimizer).items()}
    assert found.keys() == dict(model.named_parameters()).keys()
    decayed = {name.split(".", 2)[2] for name, decay in found.items() if decay and name.startswith("blocks.1.")}
    assert decayed == {
        *(f"att.{name}.weight" for name in ("receptance", "key", "value", "output")),
        "dea.qq.weight",
        *(f"mixture.experts.{index}.{name}.weight" for index in range(3) for name in ("key", "value")),
        *(f"mixture.experts.3.{name}.weight" for name in ("query", "key", "value", "output", "output_gate")),
        "mixture.router.gate.weight_in",
        "mixture.critic.feature.0.weight",
        "mixture.critic.difficulty_head.0.weight",
        "mixture.critic.affinity_head.0.weight",
        "mixture.critic.affinity_head.2.weight",
    }
    outside = {name for name, decay in found.items() if decay and not name.startswith("blocks.")}
    bridge = {f"bridge.{name}.weight" for name in ("compress", "to_low", "up")}
    assert outside == {"emb.weight", "head.weight", "tables.k_emb.weight", "tables.v_emb.weight", *bridge}
    assert set(found.values()) == {0.0, 0.1}


def test_rates_follow_schedule_phase_and_parameter() -> None:
    model = LanguageModel(small_run())
    optimizer = build_optimizer(OptimizerConfig(), parameter_groups(model), "cpu")
    set_rates(optimizer, 0.01, Phase("some", PhaseConfig(steps=1, rwkv_backbone=0.5, bridge=0.0), 0, 1))
    rate = {name: group["lr"] for name, group in _by_name(model, optimizer).items()}
    assert rate["blocks.0.att.w0"] == pytest.approx(0.01)
    assert rate["blocks.0.att.a0"] == rate["blocks.0.att.key.weight"] == pytest.approx(0.005)
    assert rate["bridge.compress.weight"] == 0
    assert rate["emb.weight"] == pytest.approx(0.01)


def _stepped(device: str) -> tuple[nn.Linear, torch.optim.Optimizer, dict[torch.Tensor, str]]:
    net = nn.Linear(3, 2, device=device)
    optimizer = torch.optim.AdamW(net.parameters())
    return net, optimizer, {parameter: name for name, parameter in net.named_parameters()}


def test_state_saved_on_one_device_comes_back_on_the_parameters_own() -> None:
    """The meta device stands in for a GPU: files are always read to the CPU."""
    net, optimizer, names = _stepped("cpu")
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved = optimizer_tensors(optimizer, names)
    assert saved.keys() == {f"{n}|{e}" for n in ("weight", "bias") for e in ("step", "exp_avg", "exp_avg_sq")}
    _, elsewhere, other_names = _stepped("meta")
    restore_optimizer(elsewhere, other_names, saved)
    assert all(value.is_meta for entries in elsewhere.state.values() for value in entries.values())


def test_restored_state_is_a_copy() -> None:
    net, optimizer, names = _stepped("cpu")
    saved = {"weight|exp_avg": torch.ones(2, 3)}
    restore_optimizer(optimizer, names, saved)
    optimizer.state[net.weight]["exp_avg"].zero_()
    assert saved["weight|exp_avg"].sum() == 6
    assert net.bias not in optimizer.state
