"""The market: what routers ask before an election, and what the trainer settles after one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camoe.config import ConfigError
from camoe.config.economy import EconomyConfig, MoneyConfig, V18Config, V21Config
from camoe.economy import v18, v21
from camoe.economy.layer_quote import LayerQuote
from camoe.economy.market_report import MarketReport
from camoe.economy.market_state import MarketState
from camoe.economy.settlement_window import SettlementWindow


class Market(nn.Module, ABC):
    """Interface of all economies; callers need no case for any of them.

    `has_capital` says whether there is anything to bid with and to settle: where it is False, layers need no critics,
    windows need no recording, `bidding` stays False, quotes give a bias of zero and settlements an empty report.
    """

    has_capital: bool

    def __init__(self) -> None:
        super().__init__()
        self._bidding = self.has_capital

    @staticmethod
    def build(config: EconomyConfig, n_layer: int, n_expert: int, top_k: int) -> Market:
        """The market of an economy; raises ConfigError when too few experts are left to set a price."""
        if isinstance(config, V21Config) and n_expert < top_k + 1:
            raise ConfigError(
                f"router.top_k: {top_k} of {n_expert} experts leaves no runner-up to set the Vickrey price of "
                f"economy.kind {config.kind}; at most {n_expert - 1}"
            )
        if isinstance(config, MoneyConfig):
            return CapitalMarket(config, n_layer, n_expert)
        return NoMarket(n_expert)

    @property
    def bidding(self) -> bool:
        """Whether capital takes part in elections; callers use a bias of zero while it does not."""
        return self._bidding

    @bidding.setter
    def bidding(self, wanted: bool) -> None:
        self._bidding = wanted and self.has_capital

    @abstractmethod
    def quote(self, layer: int) -> LayerQuote:
        """What the election of one layer needs to know."""

    @abstractmethod
    def settle(self, window: SettlementWindow, critics: Sequence[nn.Module], *, phase_name: str) -> MarketReport:
        """Turn a window of elections into capital, for all layers at once and without gradient.

        `critics` holds one critic per layer, in order; those of bankrupt layers are restructured in place.
        """

    def get_extra_state(self) -> dict[str, bool]:
        """What checkpoints carry beside the buffers."""
        return {"bidding": self._bidding}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Counterpart of get_extra_state."""
        self.bidding = state["bidding"]


class NoMarket(Market):
    """`economy=off`."""

    has_capital = False
    _fair_share: Tensor

    def __init__(self, n_expert: int) -> None:
        super().__init__()
        self.register_buffer("_fair_share", torch.full((n_expert,), 1 / n_expert), persistent=False)

    def quote(self, layer: int) -> LayerQuote:  # noqa: ARG002 (interface)
        nothing = self._fair_share.new_zeros(())
        return LayerQuote(self._fair_share, alpha=nothing, purse_ratio=nothing + 1, bid_scale=0.0)

    def settle(self, window: SettlementWindow, critics: Sequence[nn.Module], *, phase_name: str) -> MarketReport:  # noqa: ARG002
        return MarketReport()


class CapitalMarket(Market):
    """A market of expert capital: `state` is its memory, which the settlement law of its economy changes."""

    has_capital = True

    def __init__(self, config: MoneyConfig, n_layer: int, n_expert: int) -> None:
        super().__init__()
        self.config = config
        self.state = MarketState(config, n_layer, n_expert)

    def quote(self, layer: int) -> LayerQuote:
        return self.state.quote(layer)

    @torch.no_grad()
    def settle(self, window: SettlementWindow, critics: Sequence[nn.Module], *, phase_name: str) -> MarketReport:
        if isinstance(self.config, V21Config):
            return v21.settle(self.config, self.state, window, critics, phase_name)
        assert isinstance(self.config, V18Config)
        return v18.settle(self.config, self.state, window)
