"""Everything the market remembers, stacked over layers, in buffers that checkpoints carry."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camoe.config.economy import MoneyConfig
from camoe.economy.arithmetic import moving_average, ratio
from camoe.economy.published_quote import PublishedQuote
from camoe.economy.window_sums import WindowSums

BASELINE_MOMENTUM = 0.99
MOMENTUM = 0.95
"""Of the moving averages of selection, asset flow and performance."""


class MarketState(nn.Module):
    """Capital, purses and moving averages of all layers; float32, never a parameter."""

    capital: Tensor
    """[L,E], money."""
    baseline: Tensor
    """[L], moving average of the mean loss, nats per token."""
    selection_ema: Tensor
    """[L,E], moving average of the share of tokens won."""
    asset_flow_ema: Tensor
    """[L], moving average of sum |profit|, money per settlement."""
    asset_velocity: Tensor
    """[L], asset_flow_ema over sum C."""
    alpha: Tensor
    """[L], strength of the market in the election."""
    performance_ema: Tensor
    """[L], moving average of baseline - mean loss, nats per token."""
    purse: Tensor
    """[L], the critic's money K."""
    debt: Tensor
    """[L], bailouts not yet repaid."""
    bailout_count: Tensor
    """[L]."""
    accuracy: Tensor
    """[L], moving average of the share of a critic's positions that were right."""
    critic_loss_ema: Tensor
    """[], moving average of the critics' mean loss; meaningless until seen."""
    critic_loss_seen: Tensor
    """[] bool."""

    def __init__(self, config: MoneyConfig, n_layer: int, n_expert: int) -> None:
        super().__init__()
        self.critic_init_capital = config.critic.init_capital
        self.bid_scale = config.critic.bid_scale
        self.register_buffer("capital", torch.full((n_layer, n_expert), config.total_capital / n_expert))
        self.register_buffer("selection_ema", torch.zeros(n_layer, n_expert))
        for name, initial in {
            "baseline": config.baseline_init,
            "asset_flow_ema": 0.0,
            "asset_velocity": 0.0,
            "alpha": config.alpha_init,
            "performance_ema": 0.0,
            "purse": config.critic.init_capital,
            "debt": 0.0,
            "bailout_count": 0.0,
            "accuracy": 0.5,
        }.items():
            self.register_buffer(name, torch.full((n_layer,), initial))
        self.register_buffer("critic_loss_ema", torch.tensor(0.0))
        self.register_buffer("critic_loss_seen", torch.tensor(False))

    @property
    def n_expert(self) -> int:
        """E."""
        return self.capital.shape[-1]

    def track_loss(self, sums: WindowSums) -> None:
        """Baseline first, then performance against it (economy A.2, A.9); a window without tokens says nothing."""
        baseline, performance = self.baseline.double(), self.performance_ema.double()
        updated = moving_average(baseline, sums.mean_loss, BASELINE_MOMENTUM)
        measured = moving_average(performance, updated - sums.mean_loss, MOMENTUM)
        self.baseline.copy_(torch.where(sums.tokens > 0, updated, baseline))
        self.performance_ema.copy_(torch.where(sums.tokens > 0, measured, performance))

    def track_flow(self, profit_flow: Tensor, money: Tensor) -> None:
        """Asset flow from sum |profit| [L], and its velocity from sum C [L] (economy A.6)."""
        flow = moving_average(self.asset_flow_ema.double(), profit_flow, MOMENTUM)
        self.asset_flow_ema.copy_(flow)
        self.asset_velocity.copy_(ratio(flow, money))

    def track_critic_loss(self, sums: WindowSums, momentum: float) -> Tensor:
        """The critics' improvement signal [], (EMA - loss)/|EMA|, before the loss enters the EMA (economy A.8).

        A new run has no EMA: its first loss becomes the EMA, with signal 0.
        """
        ema, loss, informed = self.critic_loss_ema.double(), sums.mean_critic_loss, sums.targets > 0
        signal = torch.where(self.critic_loss_seen & informed, ratio(ema - loss, ema.abs()), 0)
        updated = torch.where(self.critic_loss_seen, moving_average(ema, loss, momentum), loss)
        self.critic_loss_ema.copy_(torch.where(informed, updated, ema))
        self.critic_loss_seen.logical_or_(informed)
        return signal

    def capital_share(self) -> Tensor:
        """c_e = C_e / sum C, [L,E]."""
        money = self.capital.sum(-1, keepdim=True)
        return self.capital / money.clamp(min=torch.finfo(money.dtype).tiny)

    def quotes(self) -> list[PublishedQuote]:
        """What the election of every layer needs to know."""
        return [self.quote(layer) for layer in range(len(self.alpha))]

    def quote(self, layer: int) -> PublishedQuote:
        """What one layer's election needs to know."""
        capital = self.capital[layer]
        return PublishedQuote(
            capital_share=capital / capital.sum().clamp(min=torch.finfo(capital.dtype).tiny),
            alpha=self.alpha[layer],
            purse_ratio=self.purse[layer] / self.critic_init_capital,
            bid_scale=self.bid_scale,
        )
