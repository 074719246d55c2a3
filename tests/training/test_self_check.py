"""The start-up self-check passes a live mechanism, names a dead one, and leaves no trace."""

import pytest
import torch

from camoe.model.language_model import LanguageModel
from camoe.training import self_check as module
from camoe.training.objectives import Batch
from camoe.training.self_check import DeadMechanismError, self_check
from tests.small_run import small_run


def _batch() -> Batch:
    tokens = torch.randint(0, 256, (2, 13), generator=torch.Generator().manual_seed(0))
    return Batch(tokens[:, :-1], tokens[:, 1:])


@pytest.mark.parametrize("economy", ["v21", "v18", "off"])
@pytest.mark.parametrize("router", ["dual_path", "market_only"])
@pytest.mark.parametrize("mix", [(3, 1), (4, 0), (0, 3), (1, 1)])
@pytest.mark.parametrize("top_k", [1, 2])
def test_every_live_composition_passes(economy: str, router: str, mix: tuple[int, int], top_k: int) -> None:
    if (router == "market_only" and economy == "off") or (economy == "v21" and top_k >= sum(mix)):
        pytest.skip("refused by the configuration")
    experts = {"rwkv_ffn": mix[0], "transformer_prefix": mix[1]}
    model = LanguageModel(small_run(economy, router={"kind": router, "top_k": top_k}, experts=experts))
    checks = self_check(model, _batch())
    assert any("market on" in check.what for check in checks) == (economy != "off")
    assert any("market off" in check.what for check in checks)


def test_experts_that_start_equal_pass_and_stay_equal() -> None:
    model = LanguageModel(small_run("off", experts={"rwkv_ffn": 4, "transformer_prefix": 0}))
    for block in model.blocks:
        for expert in block.mixture.experts:
            torch.nn.init.constant_(expert.value.weight, 0.01)
            expert.load_state_dict(block.mixture.experts[0].state_dict())
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert self_check(model, _batch())
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_a_static_router_that_learns_is_named() -> None:
    model = LanguageModel(small_run("off", router={"kind": "frozen"}))
    for block in model.blocks:
        router = block.mixture.router
        router.logits = lambda h, context, gate=router.gate: gate(h)  # noqa: ARG005
    with pytest.raises(DeadMechanismError, match="frozen is declared static, yet it learns"):
        self_check(model, _batch())


def test_nothing_is_left_changed() -> None:
    model = LanguageModel(small_run())
    before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    generator = torch.get_rng_state()
    model.blocks[0].att.requires_grad_(False)
    self_check(model, _batch())
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(generator, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.blocks[0].att.receptance.weight.requires_grad
    assert model.market.bidding


def test_a_dead_gate_is_named() -> None:
    model = LanguageModel(small_run())
    for block in model.blocks:
        original = block.mixture.router.forward
        block.mixture.router.forward = lambda *args, original=original: _with_dead_weights(original(*args))
    with pytest.raises(DeadMechanismError, match="language_model -> router_gate"):
        self_check(model, _batch())


def _with_dead_weights(decision: object) -> object:
    from dataclasses import replace

    return replace(decision, weights=decision.weights.detach())  # type: ignore[type-var, attr-defined]


def test_a_balance_loss_without_gradient_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from camoe.routing import balance_terms

    monkeypatch.setattr(balance_terms, "balance_loss", lambda gate, share, mask: gate.detach().sum() + 1.0)  # noqa: ARG005
    with pytest.raises(DeadMechanismError, match="switch -> router_gate"):
        self_check(LanguageModel(small_run()), _batch())


def test_a_look_ahead_is_named() -> None:
    model = LanguageModel(small_run())
    original = model.blocks[1].ln2.forward
    model.blocks[1].ln2.forward = lambda x: original(x + x.mean(1, keepdim=True))  # type: ignore[method-assign]
    with pytest.raises(DeadMechanismError, match="last token"):
        module.self_check(model, _batch())


@pytest.mark.parametrize("seed", range(12))
def test_a_gate_that_ignores_an_expert_at_first_is_no_dead_mechanism(seed: int) -> None:
    model = LanguageModel(small_run(model={"n_layer": 1}, seeds={"init": seed}, router={"noise_std": 0.0}))
    with torch.no_grad():
        model.blocks[0].mixture.router.gate.bias_out[3] = -50.0  # the Transformer expert wins nothing
    self_check(model, _batch())


def test_a_constant_balance_loss_is_no_term() -> None:
    model = LanguageModel(small_run("off", router={"top_k": 4}))
    assert not any(check.what.startswith("gradient norm of switch") for check in self_check(model, _batch()))
