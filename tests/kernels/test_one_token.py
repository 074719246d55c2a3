"""What native code computes for a single token is what the modules compute, at every size, wherever it is asked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camoe.config.economy import CriticTraining, V21Config, critic_of
from camoe.economy.auction import elect
from camoe.economy.critic import Critic
from camoe.kernels import one_token
from camoe.model.bridge import LinearStateBridge
from camoe.model.experts.expert import ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.time_mix import LowRanks, TimeMix
from camoe.routing.gate import Gate
from camoe.routing.router import mixture_weights

pytestmark = pytest.mark.skipif(not one_token._compiled(), reason="no C++ compiler")
BOUND = 2e-6  # of float32 results, relative to the largest; single numbers near zero: to what they are sums of
LEAST_SCALE = 0.3


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The native functions called from here on."""
    called: list[str] = []
    call = one_token._call

    def noted(source: Path, name: str, *rest: Any) -> None:
        called.append(name)
        call(source, name, *rest)

    monkeypatch.setattr(one_token, "_call", noted)
    return called


def awake(module: nn.Module) -> nn.Module:
    """With every parameter alive, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.3
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module


def wide(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) else x


def compare(module: nn.Module, inputs: tuple[Any, ...], run: Callable[..., tuple[Tensor, ...]]) -> None:
    """Native float32 against torch's float64."""
    with torch.no_grad():
        found = run(module, *inputs)
        exact = run(copy.deepcopy(module).double(), *(wide(x) for x in inputs))
    for got, expected in zip(found, exact, strict=True):
        assert got.shape == expected.shape
        assert got.dtype == torch.float32
        assert float((got - expected).abs().max()) <= BOUND * max(LEAST_SCALE, float(expected.abs().max()))


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize(
    ("n_embd", "head_size", "layer", "ranks"),
    [(16, 16, 0, (1, 1, 1, 1)), (48, 16, 1, (5, 3, 7, 33)), (96, 32, 0, None), (192, 64, 2, None), (256, 128, 1, None)],
)
def test_time_mix(
    n_embd: int, head_size: int, layer: int, ranks: tuple[int, ...] | None, carried: bool, calls: list[str]
) -> None:
    module = awake(TimeMix(n_embd, head_size, layer, 3, LowRanks(*ranks) if ranks else None))
    module.backend = "native"
    x, v_first = torch.randn(2, 1, 1, n_embd)
    before = (torch.randn(1, n_embd), torch.randn(1, n_embd // head_size, head_size, head_size))

    def run(module: nn.Module, *inputs: Any) -> tuple[Tensor, ...]:
        mixed = module(*inputs)
        return mixed.out, mixed.v_first, mixed.readout, mixed.time_shift, mixed.wkv_state

    compare(module, (x, v_first if layer else None, *(before if carried else (None, None))), run)
    assert calls == ["time_mix_token"]


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
@pytest.mark.parametrize(("n_embd", "n_expert", "hidden"), [(16, 1, 3), (40, 5, 17), (256, 4, 64)])
def test_gate(n_embd: int, n_expert: int, hidden: int, activation: str, calls: list[str]) -> None:
    module = awake(Gate(n_embd, n_expert, hidden, activation))
    compare(module, (torch.randn(1, 1, n_embd),), lambda module, h: (module(h),))
    assert calls == ["gate_token"]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("n_embd", "n_expert"), [(16, 1), (50, 7)])
def test_critic(n_embd: int, n_expert: int, signed: bool, calls: list[str]) -> None:
    training = critic_of(V21Config())
    assert isinstance(training, CriticTraining)
    module = awake(Critic(n_embd, n_expert, training))
    module.signed_difficulty = signed
    compare(module, (torch.randn(1, 1, n_embd),), lambda module, h: tuple(module(h)))
    assert calls == ["critic_token"]


def test_a_critic_far_beyond_the_bend_of_its_softplus(calls: list[str]) -> None:
    module = awake(Critic(16, 3, critic_of(V21Config())))  # type: ignore[arg-type]
    biases = (-200.0, -30.0, 0.0, 19.9, 20.1, 500.0)
    for bias in biases:
        with torch.no_grad():
            module.difficulty_head[-1].bias.fill_(bias)
        compare(module, (torch.randn(1, 1, 16),), lambda module, h: tuple(module(h)))
    assert calls == ["critic_token"] * len(biases)


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize(("n_embd", "hidden"), [(16, 5), (50, 131)])
def test_feed_forward(n_embd: int, hidden: int, shifted: bool, calls: list[str]) -> None:
    module = awake(RwkvFeedForward(n_embd, hidden, layer_id=1, n_layer=3, token_shift=shifted))
    inputs = torch.randn(1, n_embd), torch.randn(1, n_embd)
    compare(module, inputs, lambda module, h, previous: (module(h, ExpertContext(previous)),))
    assert calls == ["feed_forward_token"]


@pytest.mark.parametrize(
    ("n_embd", "head_size", "rows", "rank"), [(16, 16, 1, 1), (48, 16, 5, 3), (96, 32, 33, 17), (128, 64, 32, 32)]
)
def test_bridge_and_prefix(n_embd: int, head_size: int, rows: int, rank: int, calls: list[str]) -> None:
    bridge, expert = LinearStateBridge(n_embd, rows, rank), TransformerPrefix(n_embd, head_size, rows, rank)
    both = awake(nn.ModuleList([bridge, expert]))

    def run(both: nn.Module, h: Tensor, readout: Tensor) -> tuple[Tensor, ...]:
        bridge, expert = both  # type: ignore[misc]
        low = bridge(h, readout)
        return low, expert(h, ExpertContext(h, low, bridge.prefix_map()))

    compare(both, (torch.randn(1, n_embd), torch.randn(1, n_embd)), run)
    assert calls == ["bridge_token", "prefix_token"]


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("kind", ["usual", "equal", "banned", "NaN", "large"])
def test_election(kind: str, top_k: int) -> None:
    for seed in range(10):
        bids, scores = torch.randn(2, 1, 1, 4, generator=torch.Generator().manual_seed(seed))
        if kind == "equal":
            bids = bids.round()
        elif kind == "banned":
            bids[..., seed % 4] = -torch.inf
        elif kind == "NaN":
            bids[..., seed % 4] = torch.nan
        elif kind == "large":
            scores = 1000 * scores
        winners, weights, price = one_token.elect_token(bids, scores, top_k)
        expected, expected_price = elect(bids, top_k, priced=top_k < 4)
        assert torch.equal(winners, expected)
        torch.testing.assert_close(price, expected_price, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(weights, mixture_weights(scores, winners), rtol=1e-6, atol=1e-7)


def test_what_is_not_a_number_is_not_hidden() -> None:
    module = awake(TimeMix(32, 16, 0, 3))
    module.backend = "native"
    experts = awake(RwkvFeedForward(32, 64, layer_id=0, n_layer=1)), awake(Gate(32, 3, 4, "sigmoid"))
    bad = torch.full((1, 1, 32), torch.nan)
    with torch.no_grad():
        assert module(bad).out.isnan().all()
        assert experts[0](bad[0], ExpertContext(bad[0])).isnan().all()
        assert experts[1](bad).isnan().all()


def test_only_single_float32_tokens_without_gradients_are_served() -> None:
    x, weight = torch.randn(1, 1, 16), torch.randn(16)
    assert not one_token.serves(x, weight)
    with torch.no_grad():
        assert one_token.serves(x, weight)
        assert not one_token.serves(torch.randn(1, 2, 16), weight)
        assert not one_token.serves(torch.randn(2, 1, 16), weight)
        assert not one_token.serves(x.double(), weight)
        assert not one_token.serves(x, weight.bfloat16())
        assert not one_token.serves(x.to("meta"), weight)
        with torch.autocast("cpu", torch.bfloat16):
            assert not one_token.serves(x, weight)


def test_other_layouts_and_types_are_read_as_what_they_are(calls: list[str]) -> None:
    """A carried state may come from a run in bfloat16, and views need not be contiguous."""
    module = awake(TimeMix(32, 16, 1, 3))
    module.backend = "native"
    x, v_first = torch.randn(2, 1, 1, 64)[..., ::2]
    shift, state = torch.randn(1, 32).bfloat16(), torch.randn(1, 2, 16, 16).mT
    with torch.no_grad():
        found = module(x, v_first, shift, state).out
        expected = module(x.contiguous(), v_first.contiguous(), shift.float(), state.contiguous()).out
    assert calls == 2 * ["time_mix_token"]
    assert torch.equal(found, expected)


def test_without_a_compiler_torch_does_all(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    monkeypatch.setattr(one_token, "_compiled", lambda: False)
    with torch.no_grad():
        awake(Gate(16, 3, 4, "sigmoid"))(torch.randn(1, 1, 16))
    assert not calls
