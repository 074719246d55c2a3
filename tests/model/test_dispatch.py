"""Sorted dispatch against running every expert on every token."""

import pytest
import torch
from torch import Tensor

from camoe.kernels.dispatch_plan import plan_dispatch
from camoe.kernels.grouped_products import RowGroups
from camoe.model.bridge import LinearStateBridge
from camoe.model.dispatch import TokenInputs, run_experts
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix

C = 32


def _mix(n_rwkv: int, n_transformer: int) -> list[Expert]:
    torch.manual_seed(0)
    experts: list[Expert] = [RwkvFeedForward(C, 4 * C, layer_id=1, n_layer=3, token_shift=True) for _ in range(n_rwkv)]
    experts += [TransformerPrefix(C, 16, prefix_len=3, low_rank=4) for _ in range(n_transformer)]
    for expert in experts:
        for parameter in expert.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return [expert.double() for expert in experts]


def _inputs(h: Tensor, previous: Tensor, readout: Tensor, bridge: LinearStateBridge) -> TokenInputs:
    def make_low(tokens: Tensor | None, _: RowGroups | None) -> Tensor:
        rows = slice(None) if tokens is None else tokens
        return bridge(h[rows], readout[rows])

    return TokenInputs(h, previous, make_low, bridge.prefix_map())


def _dense(
    experts: list[Expert], winners: Tensor, h: Tensor, previous: Tensor, readout: Tensor, bridge: LinearStateBridge
) -> Tensor:
    context = ExpertContext(previous, bridge(h, readout), bridge.prefix_map())
    every = torch.stack([expert(h, context) for expert in experts], dim=1)
    return every.gather(1, winners.unsqueeze(-1).expand(*winners.shape, h.shape[-1]))


@pytest.mark.parametrize(("n_rwkv", "n_transformer"), [(3, 1), (2, 2), (4, 0), (0, 3)])
@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("n_token", [1, 17])
def test_values_and_gradients_equal_the_dense_sum(n_rwkv: int, n_transformer: int, top_k: int, n_token: int) -> None:
    experts = _mix(n_rwkv, n_transformer)
    bridge = LinearStateBridge(C, 3, 4).double()
    generator = torch.Generator().manual_seed(n_token)
    h, previous, readout = (
        torch.randn(n_token, C, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(3)
    )
    scores = torch.rand(n_token, len(experts), generator=generator)
    winners = scores.topk(top_k).indices
    weights = torch.rand(n_token, top_k, dtype=torch.float64, generator=generator, requires_grad=True)
    cotangent = torch.randn(n_token, C, dtype=torch.float64, generator=generator)
    wrt = [h, previous, readout, weights, *bridge.parameters(), *(p for expert in experts for p in expert.parameters())]

    inputs = _inputs(h, previous, readout, bridge)
    grouped = run_experts(experts, winners, weights, inputs)
    dense = (_dense(experts, winners, h, previous, readout, bridge) * weights.unsqueeze(-1)).sum(1)
    torch.testing.assert_close(grouped, dense, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        alone = run_experts(experts, winners, weights, inputs)
    torch.testing.assert_close(alone, dense, rtol=1e-10, atol=1e-12)
    for ours, reference in zip(
        torch.autograd.grad((grouped * cotangent).sum(), wrt, allow_unused=True),
        torch.autograd.grad((dense * cotangent).sum(), wrt, allow_unused=True),
        strict=True,
    ):
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if ours is None else ours.float(),
            (zero if reference is None else reference.float()).expand_as(zero if ours is None else ours),
            rtol=1e-5,
            atol=1e-7,
        )


def test_a_non_finite_expert_harms_only_its_own_tokens() -> None:
    experts = _mix(4, 0)
    with torch.no_grad():
        experts[2].value.weight.fill_(float("nan"))  # type: ignore[union-attr]
    h = torch.randn(40, C, dtype=torch.float64)
    winners = torch.rand(40, 4).topk(2).indices
    out = run_experts(experts, winners, torch.rand(40, 2, dtype=torch.float64), TokenInputs(h, h))
    served = (winners == 2).any(-1)
    assert 0 < int(served.sum()) < 40
    assert torch.equal(out.isnan().all(-1), served)
    assert torch.equal(out.isnan().any(-1), served)


def test_an_expert_that_nobody_chose_gets_zero_gradients() -> None:
    experts = _mix(3, 1)
    bridge = LinearStateBridge(C, 3, 4).double()
    h = torch.randn(9, C, dtype=torch.float64)
    winners = torch.tensor([[0, 2]]).expand(9, 2)
    weights = torch.rand(9, 2, dtype=torch.float64)
    run_experts(experts, winners, weights, _inputs(h, h.roll(1, 0), h, bridge)).sum().backward()
    for index, expert in enumerate(experts):
        for parameter in expert.parameters():
            assert parameter.grad is not None
            assert bool(parameter.grad.any()) == (index in (0, 2))


def test_the_plan_sorts_stably_and_inverts() -> None:
    winners = torch.tensor([[2, 0], [0, 1], [2, 1], [0, 2]])
    plan = plan_dispatch(winners, 4)
    assert plan.counts == [3, 2, 3, 0, 0]
    assert plan.tokens.tolist() == [0, 1, 3, 1, 2, 0, 2, 3]
    assert torch.equal(plan.tokens[plan.places], torch.arange(4)[:, None].expand(4, 2))


def test_a_prefix_is_made_once_per_token_even_if_two_experts_want_it() -> None:
    experts, asked = _mix(1, 2), []
    bridge = LinearStateBridge(C, 3, 4).double()
    h = torch.randn(5, C, dtype=torch.float64)
    winners = torch.tensor([[1, 2], [0, 1], [2, 1], [0, 2], [1, 2]])

    def make_low(tokens: Tensor | None, groups: RowGroups | None) -> Tensor:
        asked.append(tokens.tolist())
        return bridge(h[tokens], h[tokens], groups=groups)

    run_experts(experts, winners, torch.rand(5, 2), TokenInputs(h, h, make_low, bridge.prefix_map()))
    assert asked == [[0, 1, 2, 3, 4]]


def test_the_plan_rounds_segments_up_with_copies_of_their_last_row() -> None:
    winners = torch.tensor([[2, 0], [0, 1], [2, 1], [0, 2], [4, 0]])
    plan = plan_dispatch(winners, 4, multiple=3)
    assert plan.counts == [6, 3, 3, 0, 1]
    assert plan.tokens.tolist() == [0, 1, 3, 4, 4, 4, 1, 2, 2, 0, 2, 3, 4]
    assert torch.equal(plan.tokens[plan.places], torch.arange(5)[:, None].expand(5, 2))


@pytest.mark.parametrize("n_transformer", [0, 1, 2])
def test_rounded_segments_change_nothing(n_transformer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    experts = _mix(2, n_transformer)
    bridge = LinearStateBridge(C, 3, 4).double()
    h, previous, readout = (torch.randn(23, C, dtype=torch.float64, requires_grad=True) for _ in range(3))
    winners = torch.rand(23, len(experts)).topk(2).indices
    weights = torch.rand(23, 2, dtype=torch.float64, requires_grad=True)
    wrt = [h, previous, weights, *(p for expert in experts for p in expert.parameters())]

    def results(multiple: int) -> list[Tensor]:
        monkeypatch.setattr("camoe.model.dispatch.row_multiple", lambda *_: multiple)
        out = run_experts(experts, winners, weights, _inputs(h, previous, readout, bridge))
        return [out, *torch.autograd.grad(out.square().sum(), wrt)]

    for rounded, exact in zip(results(5), results(1), strict=True):
        torch.testing.assert_close(rounded, exact, rtol=1e-10, atol=1e-12)
