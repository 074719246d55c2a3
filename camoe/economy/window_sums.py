"""Sums over a settlement window from which capital is settled. Every field adds up over micro-batches and over ranks.

Sums are float64, so that neither the split into micro-batches nor the size of the window moves capital.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from camoe.economy.settlement_window import MicroBatchRecord
from camoe.kernels.ranks import ALONE, Ranks


class WindowSums(NamedTuple):
    """Sums over the counted tokens t of a window; means are derived from them."""

    tokens: Tensor
    """[], number of tokens N."""
    loss: Tensor
    """[], sum of l_t, nats."""
    loss_square: Tensor
    """[], sum of l_t^2."""
    targets: Tensor
    """[], number of real targets; fewer than N where padding counts."""
    critic_loss: Tensor
    """[], sum of the critics' losses over the real targets."""
    served: Tensor
    """[L,E], tokens won by each expert."""
    charged: Tensor
    """[L,E], sum of l_t + price_t over the tokens won."""
    trust: Tensor
    """[L,E], sum of relu(affinity)."""
    agreed: Tensor
    """[L], tokens whose gate argmax is the market's argmax."""
    opinions: Tensor
    """[L], tokens on which the market prefers any expert, i.e. whose bias is not flat."""

    @property
    def mean_loss(self) -> Tensor:
        """[], nats per token; 0 in a window of nothing but padding."""
        return self.loss / self.tokens.clamp(min=1)

    @property
    def loss_deviation(self) -> Tensor:
        """[], population standard deviation of the token loss, nats."""
        return (self.loss_square / self.tokens.clamp(min=1) - self.mean_loss.square()).clamp(min=0).sqrt()

    @property
    def mean_critic_loss(self) -> Tensor:
        """[], mean over the real targets."""
        return self.critic_loss / self.targets.clamp(min=1)

    @property
    def selected_share(self) -> Tensor:
        """[L,E], share of the tokens won by each expert."""
        return self.served / self.tokens.clamp(min=1)

    @property
    def mean_trust(self) -> Tensor:
        """[L,E], mean relu(affinity)."""
        return self.trust / self.tokens.clamp(min=1)


def measure_window(records: Sequence[MicroBatchRecord], ranks: Ranks = ALONE) -> WindowSums:
    """Sums over all counted micro-batches of a window, those of all ranks."""
    if not records:
        raise ValueError("the settlement window holds no micro-batch")
    columns = zip(*(_measure(record) for record in records), strict=True)
    return WindowSums(*ranks.sum([torch.stack(column).sum(0) for column in columns]))


def _measure(record: MicroBatchRecord) -> WindowSums:
    loss = record.token_loss.double()
    targets = record.mask.sum(dtype=torch.float64)
    won = record.won()
    charge = (loss + record.price.double()).unsqueeze(-1)
    bias = record.selection_bias
    has_opinion = bias.amax(-1) > bias.amin(-1)
    agrees = has_opinion & (record.gate_logits.argmax(-1) == bias.argmax(-1))
    return WindowSums(
        tokens=record.counts.sum(dtype=torch.float64),
        loss=loss.sum(),
        loss_square=loss.square().sum(),
        targets=targets,
        critic_loss=torch.where(targets > 0, record.critic_loss.double() * targets, 0),
        served=_over_tokens(won),
        charged=_over_tokens(torch.where(won, charge, 0)),
        trust=_over_tokens(record.affinity.relu()),
        agreed=_over_tokens(agrees),
        opinions=_over_tokens(has_opinion),
    )


def _over_tokens(values: Tensor) -> Tensor:
    """Sum of [L,B,T,...] over batch and time."""
    return values.sum((1, 2), dtype=torch.float64)
