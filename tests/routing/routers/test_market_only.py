"""The market-only router of v18 against its rule."""

import torch

from camoe.config.router import RouterConfig
from camoe.economy.critic import CriticOpinion
from camoe.economy.published_quote import PublishedQuote
from camoe.routing.routers.market_only import MarketOnly
from tests.routing.routing_context import context


def test_bids_elect_and_weigh() -> None:
    torch.manual_seed(0)
    router = MarketOnly(RouterConfig(kind="market_only", top_k=2), 8, 4)
    quote = PublishedQuote(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor(0.05), torch.tensor(1.0), bid_scale=0.05)
    opinion = CriticOpinion(torch.rand(1, 6), torch.randn(1, 6, 4))
    h = torch.randn(1, 6, 8)
    decision = router(h, context(h, quote), opinion)
    confidence = router.gate(h)
    for t in range(6):
        bids = confidence[0, t] * quote.capital_share * (1 + opinion.difficulty[0, t]) + 0.05 * opinion.affinity[0, t]
        ranked = bids.argsort(descending=True)
        assert decision.experts[0, t].tolist() == ranked[:2].tolist()
        torch.testing.assert_close(decision.price[0, t], bids[ranked[2]])
        torch.testing.assert_close(decision.weights[0, t], torch.softmax(bids[ranked[:2]], -1))
    decision.weights[..., 0].sum().backward()
    assert float(router.gate.weight_in.grad.norm()) > 0


def test_without_a_market_confidence_alone_bids() -> None:
    torch.manual_seed(0)
    router = MarketOnly(RouterConfig(kind="market_only", top_k=2), 8, 4)
    h = torch.randn(1, 6, 8)
    decision = router(h, context(h), None)
    assert torch.equal(decision.experts, router.gate(h).topk(2).indices)
    assert float(decision.selection_bias.abs().max()) == 0
