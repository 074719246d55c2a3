"""The audit against running the whole model again, and its slopes against finite differences."""

import pytest
import torch

from camoe.economy.measured_credit import MeasuredCredit
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.election_terms import AuditedLayer, ElectionTerms
from camoe.training.audit import measure_credit
from camoe.training.experiments import AuditDraw
from camoe.training.objectives import IGNORED, Batch, Losses, compute_losses
from tests.small_run import small_run

B, T, E, LAYER = 4, 11, 4, 1


def _model(layers: int = 3) -> LanguageModel:
    model = LanguageModel(small_run("calibrated", model={"n_layer": layers})).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


def _batch() -> Batch:
    tokens = torch.randint(1, 256, (B, T + 1), generator=torch.Generator().manual_seed(2))
    targets = tokens[:, 1:].clone()
    targets[1, 7:] = IGNORED
    return Batch(tokens[:, :-1], targets)


def _terms(model: LanguageModel) -> ElectionTerms:
    shape = (B, model.config.model.n_layer, T, E)
    return ElectionTerms(torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64))


def _measured(model: LanguageModel, kind: str, draw: AuditDraw) -> tuple[MeasuredCredit, Losses]:
    trace = RoutingTrace(audited_layer=draw.layer)
    losses = compute_losses(model, _batch(), _terms(model), trace)
    return measure_credit(model, _batch(), _terms(model), losses, draw, kind), losses


@torch.no_grad()
def _loss_without(model: LanguageModel, expert: int, row: int) -> tuple[float, RoutingTrace]:
    """The sequence's loss when the whole model runs from the first layer with the expert banned in one."""
    trace, batch = RoutingTrace(), _batch()
    terms = ElectionTerms(_terms(model).noise[row : row + 1], audited=AuditedLayer(LAYER, torch.tensor([expert])))
    hidden, _ = model.hidden(batch.inputs[row : row + 1], terms=terms, trace=trace)
    _, token_loss = model.cross_entropy(hidden, batch.targets[row : row + 1])
    return float(token_loss.double().sum()), trace


@pytest.mark.parametrize("bidding", [True, False])
@pytest.mark.parametrize("kind", ["replacement", "leave_one_out"])
def test_effects_are_those_of_a_full_run_with_the_expert_banned(kind: str, bidding: bool) -> None:
    model = _model()
    model.market.bidding = bidding
    draw = AuditDraw(LAYER, torch.tensor([0, 1, 3]), torch.tensor([2, 0, 2]))
    credit, losses = _measured(model, kind, draw)
    pairs = [(0, 2), (1, 0), (3, 2)] if kind == "replacement" else [(row, e) for row in (0, 1, 3) for e in range(E)]
    assert credit.expert.tolist() == [expert for _, expert in pairs]
    for index, (row, expert) in enumerate(pairs):
        banned, trace = _loss_without(model, expert, row)
        effect = banned - float(losses.token_loss[row].double().sum())
        assert float(credit.effect[index]) == pytest.approx(effect, abs=1e-6)
        assert not (trace.layers[LAYER].decision.experts == expert).any()
        winners = losses.trace.layers[LAYER].decision.experts[row]
        assert float(credit.served[index]) == float(((winners == expert).any(-1) & losses.mask[row]).sum())
    assert float(credit.effect.abs().max()) > 1e-3


def test_a_ban_lets_the_next_bidder_serve_and_touches_no_other_layer_or_sequence() -> None:
    model, batch = _model(), _batch()
    free, banned = RoutingTrace(), RoutingTrace()
    audited = AuditedLayer(LAYER, torch.tensor([2, -1, -1, -1]))
    compute_losses(model, batch, _terms(model), free)
    compute_losses(model, batch, ElectionTerms(_terms(model).noise, audited=audited), banned)
    before, after = free.layers[LAYER].decision, banned.layers[LAYER].decision
    assert torch.equal(before.experts[1:], after.experts[1:])
    assert torch.equal(free.layers[0].decision.experts, banned.layers[0].decision.experts)
    bids = before.adjusted_logits[0] + model.blocks[LAYER].mixture.router.noise_std * _terms(model).noise[0, LAYER]
    bids[:, 2] = -torch.inf
    assert torch.equal(after.experts[0], bids.topk(2).indices)


def test_midpoint_is_the_slope_at_half_of_the_weights() -> None:
    model = _model()
    draw = AuditDraw(LAYER, torch.tensor([0, 2]), torch.tensor([0, 0]))
    credit, losses = _measured(model, "midpoint", draw)
    batch, terms = _batch(), _terms(model)
    winners = losses.trace.layers[LAYER].decision.experts
    step = 1e-3
    for index in range(2 * E):
        expert, row = int(credit.expert[index]), [0, 2][index % 2]

        def loss(factor: float, expert: int = expert, row: int = row) -> float:
            won = (winners[row : row + 1] == expert).double()
            audited = AuditedLayer(LAYER, torch.tensor([-1]), 0.5 + factor * won)
            some = Batch(batch.inputs[row : row + 1], batch.targets[row : row + 1])
            again = compute_losses(model, some, ElectionTerms(terms.noise[row : row + 1], audited=audited))
            return float(again.token_loss.double().sum())

        slope = (loss(step) - loss(-step)) / (2 * step)
        assert float(credit.effect[index]) == pytest.approx(-slope, rel=2e-3, abs=2e-5)


def test_no_weight_gets_a_gradient_from_an_audit() -> None:
    model = _model()
    for kind in ("replacement", "leave_one_out", "midpoint"):
        _measured(model, kind, AuditDraw(LAYER, torch.tensor([0]), torch.tensor([1])))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weight_credit_is_minus_g_dl_dg() -> None:
    model = _model()
    trace = RoutingTrace()
    losses = compute_losses(model, _batch(), _terms(model), trace)
    trace.watch_weights()
    losses.terms[0].value.backward()
    weights = [layer.decision.weights for layer in trace.layers]
    again = compute_losses(model, _batch(), _terms(model), other := RoutingTrace())
    slopes = torch.autograd.grad(again.terms[0].value, [layer.decision.weights for layer in other.layers])
    expected = torch.stack([-w.detach() * slope for w, slope in zip(weights, slopes, strict=True)])
    torch.testing.assert_close(trace.weight_credit(), expected)
