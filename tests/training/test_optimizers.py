"""Who decays, who learns faster, and state that comes back beside its parameter."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from camoe.config import ConfigError, optional_library
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


def test_a_missing_library_is_refused_with_the_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_library, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"optimizer\.kind: adamw8bit needs .* bitsandbytes.* optimizer=adamw"):
        build_optimizer(OptimizerConfig(kind="adamw8bit"), {}, "cpu")
    optional_library.require_optimizer_library(OptimizerConfig())


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.Linear(128, 64))


def _steps(net: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        (net(inputs) - inputs).square().mean().backward()
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        optimizer.step()


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_saved_and_restored_it_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    if kind == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    nets, optimizers = [_net(), _net()], []
    for net in nets:
        groups = {"rwkv_backbone": dict(net.named_parameters())}
        optimizers.append(build_optimizer(OptimizerConfig(kind=kind), groups, "cpu"))
    _steps(nets[0], optimizers[0], range(6))
    _steps(nets[1], optimizers[1], range(3))
    names = [{parameter: name for name, parameter in net.named_parameters()} for net in nets]
    save_file(optimizer_tensors(optimizers[1], names[1]), tmp_path / "optimizer.safetensors")
    restore_optimizer(optimizers[1], names[1], load_file(tmp_path / "optimizer.safetensors"))
    _steps(nets[1], optimizers[1], range(3, 6))
    for whole, resumed in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(whole, resumed)
    assert not torch.equal(nets[0][0].weight, _net()[0].weight)


def test_eight_bits_follow_adamw() -> None:
    pytest.importorskip("bitsandbytes")
    losses = {}
    for kind in ("adamw", "adamw8bit"):
        net = _net()
        optimizer = build_optimizer(OptimizerConfig(kind=kind), {"rwkv_backbone": dict(net.named_parameters())}, "cpu")
        _steps(net, optimizer, range(20))
        inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(99))
        losses[kind] = float((net(inputs) - inputs).square().mean())
    assert losses["adamw8bit"] == pytest.approx(losses["adamw"], rel=0.1)
    assert losses["adamw8bit"] != losses["adamw"]
