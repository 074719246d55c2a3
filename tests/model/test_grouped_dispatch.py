"""The grouped expert stage against segments and the dense sum; what it may not ask the host; what it may not leak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from camoe.kernels import grouped_products
from camoe.kernels.grouped_products import RowGroups
from camoe.model.bridge import LinearStateBridge
from camoe.model.dispatch import TokenInputs, run_experts
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.grouped_dispatch import plan_families, run_experts_grouped
from camoe.model.language_model import LanguageModel
from tests.model.no_waiting import NoWaiting
from tests.small_run import small_run

C, P, RANK = 32, 2, 4
MIXES = [(3, 1), (2, 2), (4, 0), (0, 3), (1, 3)]


class Layer:
    """Experts, bridge and tokens with their winners, of one seed."""

    def __init__(self, n_rwkv: int, n_transformer: int, n_token: int, top_k: int) -> None:
        torch.manual_seed(n_token)
        rwkv = [RwkvFeedForward(C, 4 * C, layer_id=1, n_layer=3) for _ in range(n_rwkv)]
        self.experts: list[Expert] = [*rwkv, *(TransformerPrefix(C, 16, P, RANK) for _ in range(n_transformer))]
        for expert in self.experts:
            for parameter in expert.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        self.bridge = LinearStateBridge(C, P, RANK)
        self.h, self.previous, self.readout = (torch.randn(n_token, C, requires_grad=True) for _ in range(3))
        self.winners = torch.rand(n_token, len(self.experts)).topk(top_k).indices
        self.weights = torch.rand(n_token, top_k, requires_grad=True)
        self.active = torch.ones_like(self.winners, dtype=torch.bool)

    def wrt(self) -> list[Tensor]:
        """Everything that wants a gradient."""
        mine = [parameter for expert in self.experts for parameter in expert.parameters()]
        return [self.h, self.previous, self.readout, self.weights, *self.bridge.parameters(), *mine]

    def run(self, form: Callable[..., Tensor]) -> Tensor:
        """The stage in one form."""

        def make_low(tokens: Tensor | None, groups: RowGroups | None) -> Tensor:
            return self.bridge(self.h, self.readout, tokens, groups)

        inputs = TokenInputs(self.h, self.previous, make_low, self.bridge.prefix_map())
        winners = self.winners.masked_fill(~self.active, len(self.experts))
        return form(self.experts, winners, self.weights.masked_fill(~self.active, 0), inputs)


def _dense(experts: list[Expert], winners: Tensor, weights: Tensor, inputs: TokenInputs) -> Tensor:
    """Every expert on every token."""
    assert inputs.make_low is not None
    context = ExpertContext(inputs.previous, inputs.make_low(torch.arange(len(winners)), None), inputs.prefix_map)
    every = torch.stack([expert(inputs.h, context) for expert in experts], dim=1)
    every = torch.cat((every, torch.zeros(len(winners), 1, C)), dim=1)  # nobody
    chosen = every.gather(1, winners.unsqueeze(-1).expand(*winners.shape, C))
    return (chosen * weights.unsqueeze(-1)).sum(1)


def _gradients(out: Tensor, wrt: list[Tensor]) -> list[Tensor]:
    cotangent = torch.linspace(-1, 1, out.numel()).view_as(out)
    return list(torch.autograd.grad((out * cotangent).sum(), wrt, materialize_grads=True, allow_unused=True))


def _assert_near(ours: Tensor, reference: Tensor, bound: float) -> None:
    assert torch.isfinite(ours).all()
    ours, reference = ours.detach(), reference.detach()
    assert float((ours - reference).norm()) <= bound * float(reference.norm()) + 1e-7


@contextmanager
def _poisoned_products(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Grouped products whose rows behind the last group are not a number, as uninitialised memory may be."""
    grouped_mm = F.grouped_mm

    def poisoned(a: Tensor, b: Tensor, *, offs: Tensor) -> Tensor:
        out = grouped_mm(a, b, offs=offs)
        if out.dim() == 2:
            out[int(offs[-1]) :] = torch.nan
        return out

    with monkeypatch.context() as patch:
        patch.setattr(grouped_products.F, "grouped_mm", poisoned)
        yield


@pytest.mark.parametrize(("n_rwkv", "n_transformer"), MIXES)
@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("n_token", [1, 5, 37])
def test_values_and_gradients_equal_segments_and_the_dense_sum(
    n_rwkv: int, n_transformer: int, top_k: int, n_token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(n_rwkv, n_transformer, n_token, top_k)
    with _poisoned_products(monkeypatch):
        grouped = layer.run(run_experts_grouped)
        gradients = _gradients(grouped, layer.wrt())
    for form in (run_experts, _dense):
        reference = layer.run(form)
        _assert_near(grouped, reference, 1e-5)
        for ours, expected in zip(gradients, _gradients(reference, layer.wrt()), strict=True):
            _assert_near(ours, expected, 2e-5)


@pytest.mark.parametrize("mix", [(3, 1), (1, 3)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_token", [1, 37])
def test_winners_that_do_not_serve_run_nobody(mix: tuple[int, int], share: float, n_token: int) -> None:
    layer = Layer(*mix, n_token, top_k=3)
    layer.active = torch.rand(layer.winners.shape) < share
    reference = layer.run(_dense)
    expected = _gradients(reference, layer.wrt()) if share else []
    for form in (run_experts, run_experts_grouped):
        out = layer.run(form)
        _assert_near(out, reference, 1e-5)
        for ours, theirs in zip(_gradients(out, layer.wrt()) if share else [], expected, strict=True):
            _assert_near(ours, theirs, 2e-5)


@torch.no_grad()
def test_a_single_token_that_nobody_serves_gets_nothing() -> None:
    layer = Layer(3, 1, n_token=1, top_k=2)
    inputs = TokenInputs(layer.h, layer.previous)
    nobody = torch.full((1, 2), len(layer.experts))
    assert not run_experts(layer.experts, nobody, torch.zeros(1, 2), inputs).any()
    one = torch.tensor([[len(layer.experts), 1]])
    alone = 0.5 * layer.experts[1](layer.h, ExpertContext(layer.previous))
    torch.testing.assert_close(run_experts(layer.experts, one, torch.tensor([[0.0, 0.5]]), inputs), alone)


@pytest.mark.parametrize("mix", [(3, 1), (2, 2)])
def test_the_form_that_serves_every_kind_agrees(mix: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer(*mix, n_token=19, top_k=2)
    fast = layer.run(run_experts_grouped)
    expected = _gradients(fast, layer.wrt())
    for kind in (RwkvFeedForward, TransformerPrefix):
        monkeypatch.delattr(kind, "forward_grouped")
    slow = layer.run(run_experts_grouped)
    _assert_near(fast, slow, 1e-5)
    for ours, reference in zip(expected, _gradients(slow, layer.wrt()), strict=True):
        _assert_near(ours, reference, 2e-5)


@pytest.mark.parametrize("mix", [(3, 1), (2, 2)])
def test_bfloat16_under_autocast_agrees_with_segments(mix: tuple[int, int]) -> None:
    layer = Layer(*mix, n_token=33, top_k=2)
    with torch.autocast("cpu", torch.bfloat16):
        grouped, segments = layer.run(run_experts_grouped), layer.run(run_experts)
    assert grouped.dtype == segments.dtype
    _assert_near(grouped.float(), segments.float(), 0.02)
    pairs = zip(_gradients(grouped, layer.wrt()), _gradients(segments, layer.wrt()), strict=True)
    for ours, reference in pairs:
        _assert_near(ours, reference, 0.03)


def test_an_expert_that_nobody_chose_gets_zero_gradients() -> None:
    layer = Layer(3, 2, n_token=9, top_k=2)
    layer.winners = torch.tensor([[0, 4]]).expand(9, 2)
    layer.run(run_experts_grouped).sum().backward()
    for index, expert in enumerate(layer.experts):
        for parameter in expert.parameters():
            assert parameter.grad is not None
            assert bool(parameter.grad.any()) == (index in (0, 4))


@pytest.mark.parametrize("bad", [1, 3])
def test_a_non_finite_expert_harms_only_its_own_tokens(bad: int) -> None:
    layer = Layer(3, 2, n_token=40, top_k=2)
    with torch.no_grad():
        for parameter in layer.experts[bad].parameters():
            parameter.fill_(torch.nan)
    out = layer.run(run_experts_grouped)
    served = (layer.winners == bad).any(-1)
    assert 0 < int(served.sum()) < 40
    assert torch.equal(out.isnan().any(-1), served)


def test_rows_of_a_kind_come_first_and_in_the_order_of_experts() -> None:
    winners = torch.tensor([[2, 0], [0, 1], [2, 1], [0, 2]])
    layer = Layer(2, 1, n_token=4, top_k=2)
    rwkv, transformer = plan_families(layer.experts, winners)
    assert rwkv.groups.ends.tolist() == [3, 5]
    assert rwkv.tokens[:5].tolist() == [0, 1, 3, 1, 2]
    assert (transformer.groups.ends.tolist(), transformer.groups.n_row) == ([3], 4)
    assert transformer.tokens[:3].tolist() == [0, 2, 3]
    assert torch.equal(transformer.won, winners == 2)
    assert transformer.tokens[transformer.places][transformer.won].tolist() == [0, 2, 3]


@pytest.mark.parametrize(("n_rwkv", "n_transformer"), MIXES)
def test_the_host_never_waits(n_rwkv: int, n_transformer: int) -> None:
    layer = Layer(n_rwkv, n_transformer, n_token=37, top_k=2 if n_rwkv + n_transformer > 1 else 1)
    with NoWaiting():
        _gradients(layer.run(run_experts_grouped), layer.wrt())
    with NoWaiting(), pytest.raises(AssertionError, match="makes the host wait"):
        layer.run(run_experts)


@pytest.mark.parametrize(("n_rwkv", "n_transformer"), MIXES)
def test_no_size_depends_on_who_won(n_rwkv: int, n_transformer: int) -> None:
    """Fake tensors have shapes and no numbers: whatever needs a number fails, and products are checked for bfloat16."""
    layer = Layer(n_rwkv, n_transformer, n_token=37, top_k=1)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.autocast("cpu", torch.bfloat16):
        assert layer.run(run_experts_grouped).shape == (37, C)
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            layer.run(run_experts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_no_synchronisation_and_agrees_with_segments() -> None:
    layer = Layer(3, 2, n_token=300, top_k=2)
    for module in (*layer.experts, layer.bridge):
        module.to("cuda")
    for name in ("h", "previous", "readout", "winners", "weights"):
        tensor = getattr(layer, name)
        setattr(layer, name, tensor.detach().cuda().requires_grad_(tensor.requires_grad))
    with torch.autocast("cuda", torch.bfloat16):
        segments = layer.run(run_experts)
        expected = _gradients(segments, layer.wrt())
        torch.cuda.set_sync_debug_mode("error")
        try:
            grouped = layer.run(run_experts_grouped)
            grouped.backward(torch.ones_like(grouped), inputs=layer.wrt(), retain_graph=True)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    _assert_near(grouped.float(), segments.float(), 0.02)
    for ours, reference in zip(_gradients(grouped, layer.wrt()), expected, strict=True):
        _assert_near(ours, reference, 0.03)


def test_a_model_computes_the_same_in_both_forms() -> None:
    model = LanguageModel(small_run())
    torch.manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    tokens = torch.randint(0, 64, (2, 24))
    results = []
    for form in ("segments", "grouped"):
        model.use_dispatch(form)
        logits, _ = model(tokens)
        wrt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        results.append([logits, *_gradients(logits, wrt)])
    for ours, reference in zip(*results, strict=True):
        _assert_near(ours, reference, 1e-4)
