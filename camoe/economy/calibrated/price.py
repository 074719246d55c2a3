"""(3), (5) The price's currency: how many nats a unit of bid is worth, and whether the price foretold the externality.

Bids and prices are relative to the token's mean bid, so that a constant added to a token's logits changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.economy.calibrated.rates import quotient


def moments(served: Tensor, value: Tensor, bid: Tensor, price: Tensor) -> Tensor:
    """[10,...]: n, v, b, p, and vv, vb, vp, bb, bp, pp over n, of sums v, b, p over n tokens served each.

    Added up over units of information, they are moments of the values per token served, weighted by n.
    """
    pairs = (value * value, value * bid, value * price, bid * bid, bid * price, price * price)
    return torch.stack([served, value, bid, price, *(quotient(pair, served) for pair in pairs)])


def nats_per_logit(sums: Tensor, *, net: bool) -> Tensor:
    """theta [L] >= 0 from moments [10,L]: the slope of value on bid, 0 where bids carry no information.

    The value of an audit that lets the runner-up serve is net of the runner-up, so its match is the net bid b - p.
    """
    value, bid, price = _covariances(sums)
    slope = quotient(value[1] - value[2], bid[1] - 2 * bid[2] + price[2]) if net else quotient(value[1], bid[1])
    return slope.clamp(min=0)


def efficiency(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Correlations [L] of the value per token served with the winner's surplus b - p, and with the price p.

    The first is the market's efficiency: where bids foretell values, theta (b - p) foretells what an audit measures. A
    second price is the runner-up's bid, so that the second is expected to be negative.
    """
    value, bid, price = _covariances(sums)
    surplus = (bid[1] - 2 * bid[2] + price[2]).clamp(min=0)
    by_surplus = quotient(value[1] - value[2], (value[0].clamp(min=0) * surplus).sqrt())
    by_price = quotient(value[2], (value[0] * price[2]).clamp(min=0).sqrt())
    return by_surplus, by_price


def _covariances(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [3,L] of the covariance matrix of (value, bid, price) per token served."""
    served, value, bid, price, *pairs = sums
    means = torch.stack([quotient(total, served) for total in (value, bid, price)])
    vv, vb, vp, bb, bp, pp = (quotient(pair, served) for pair in pairs)
    second = torch.stack([torch.stack([vv, vb, vp]), torch.stack([vb, bb, bp]), torch.stack([vp, bp, pp])])
    value_row, bid_row, price_row = second - means.unsqueeze(1) * means.unsqueeze(0)
    return value_row, bid_row, price_row
