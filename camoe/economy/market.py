"""The market: what routers ask before an election, and what the trainer settles after one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from camoe.config import ConfigError
from camoe.config.calibrated import AUDITED_CREDITS, CalibratedConfig
from camoe.config.economy import EconomyConfig, MoneyConfig, V18Config, V21Config
from camoe.economy import critic_loss, ledger, v18, v21
from camoe.economy.calibrated import critic_losses, quoting
from camoe.economy.calibrated.settle import settle as settle_calibrated
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.calibrated.window import CalibratedWindow
from camoe.economy.critic_loss import Outcome
from camoe.economy.kept_quotes import KeptQuotes
from camoe.economy.layer_quote import LayerQuote
from camoe.economy.market_report import MarketReport
from camoe.economy.market_state import MarketState
from camoe.economy.measured_credit import AuditPlan
from camoe.economy.published_quote import PublishedQuote
from camoe.economy.settlement_window import SettlementWindow, Window
from camoe.kernels.ranks import ALONE, Ranks


class Market(nn.Module, ABC):
    """Interface of all economies; callers need no case for any of them.

    `has_capital` says whether there is anything to bid with and to settle: where it is False, layers need no critics,
    windows need no recording, `bidding` stays False, quotes give a bias of zero and settlements an empty report.

    What training must measure for a settlement: `audits` (None: nothing), `holdout_share` of the sequences routed
    without the market's bias, and whether records need `weight_credit` (`needs_weight_credit`).
    """

    has_capital: bool
    audits: AuditPlan | None = None
    holdout_share: float = 0.0
    needs_weight_credit: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._bidding = self.has_capital

    @staticmethod
    def build(
        config: EconomyConfig,
        n_layer: int,
        n_expert: int,
        top_k: int,
        *,
        expert_flops: Sequence[float] | Sequence[Sequence[float]] | Tensor | None = None,
        fixed_flops: float = 0.0,
    ) -> Market:
        """The market of an economy; raises ConfigError when too few experts are left to set a price.

        expert_flops: [E] or [L,E] forward FLOPs of one expert for one token; None: all alike. fixed_flops: of
        everything else, per token.
        """
        if isinstance(config, (V21Config, CalibratedConfig)) and n_expert < top_k + 1:
            raise ConfigError(
                f"router.top_k: {top_k} of {n_expert} experts leaves no runner-up to set the Vickrey price of "
                f"economy.kind {config.kind}; at most {n_expert - 1}"
            )
        if isinstance(config, MoneyConfig):
            return CapitalMarket(config, n_layer, n_expert)
        if isinstance(config, CalibratedConfig):
            flops = torch.zeros(n_expert) if expert_flops is None else expert_flops
            return CalibratedMarket(config, CalibratedState(config, n_layer, n_expert, top_k, flops, fixed_flops))
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

    def resting_quote(self, layer: int) -> LayerQuote | None:  # noqa: ARG002 (interface)
        """The quote of a market that does not bid: no bias and no toll; None where it would say nothing else."""
        return None

    def open_window(self) -> Window:
        """A window for the micro-batches up to the next settlement."""
        return SettlementWindow()

    @abstractmethod
    def settle(
        self, window: Window, critics: Sequence[nn.Module], *, phase_name: str, ranks: Ranks = ALONE
    ) -> MarketReport:
        """Turn a window of elections, opened by `open_window`, into capital, for all layers and without gradient.

        `critics` holds one critic per layer, in order; those of bankrupt layers are restructured in place. Windows are
        summed over `ranks`, so that all of them come to the same capital.
        """

    def accounts(self) -> dict[str, Tensor]:
        """What every account of the ledger (`LedgerRow`) holds now, each [L], money; without capital there is none."""
        return {}

    @abstractmethod
    def critic_losses(self, difficulty: Tensor, affinity: Tensor, outcome: Outcome) -> dict[str, Tensor]:
        """What the critics of all layers learn from a micro-batch, by name, each [] and a mean over its real targets.

        difficulty [L,B,T], affinity [L,B,T,E]; the outcome's winners and price have a leading L.
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
        return PublishedQuote(self._fair_share, alpha=nothing, purse_ratio=nothing + 1, bid_scale=0.0)

    def settle(
        self,
        window: Window,  # noqa: ARG002
        critics: Sequence[nn.Module],  # noqa: ARG002
        *,
        phase_name: str,  # noqa: ARG002
        ranks: Ranks = ALONE,  # noqa: ARG002
    ) -> MarketReport:
        return MarketReport()

    def critic_losses(self, difficulty: Tensor, affinity: Tensor, outcome: Outcome) -> dict[str, Tensor]:  # noqa: ARG002
        return {}


class CapitalMarket(Market):
    """A published market: `state` is its memory, which the settlement law of its economy changes."""

    has_capital = True

    def __init__(self, config: MoneyConfig, n_layer: int, n_expert: int) -> None:
        super().__init__()
        self.config = config
        self.state = MarketState(config, n_layer, n_expert)
        self._quotes = KeptQuotes(self.state, MarketState.quotes)

    def quote(self, layer: int) -> LayerQuote:
        return self._quotes.of(layer)

    @torch.no_grad()
    def settle(
        self, window: Window, critics: Sequence[nn.Module], *, phase_name: str, ranks: Ranks = ALONE
    ) -> MarketReport:
        assert isinstance(window, SettlementWindow)
        if isinstance(self.config, V21Config):
            return v21.settle(self.config, self.state, window, critics, phase_name, ranks)
        assert isinstance(self.config, V18Config)
        return v18.settle(self.config, self.state, window, ranks)

    def accounts(self) -> dict[str, Tensor]:
        return {ledger.EXPERTS: self.state.capital.sum(-1), ledger.CRITICS: self.state.purse}

    def critic_losses(self, difficulty: Tensor, affinity: Tensor, outcome: Outcome) -> dict[str, Tensor]:
        baseline = self.state.baseline[:, None, None]
        losses = {"critic_difficulty": critic_loss.difficulty_loss(difficulty, outcome, baseline)}
        if self.config.critic.affinity_trained:
            losses["critic_affinity"] = critic_loss.affinity_loss(affinity, outcome, baseline)
        return losses


class CalibratedMarket(Market):
    """The calibrated market; the laws are in `camoe.economy.calibrated`."""

    has_capital = True

    def __init__(self, config: CalibratedConfig, state: CalibratedState) -> None:
        super().__init__()
        self.config, self.state = config, state
        self._quotes = KeptQuotes(state, partial(quoting.quotes, config))
        credit = config.credit
        if credit.kind in AUDITED_CREDITS and credit.share:
            kind = "replacement" if credit.kind == "replacement_audit" else credit.kind
            self.audits = AuditPlan(kind, credit.share, state.n_layer)
        self.holdout_share = config.alpha.holdout_share if config.alpha.kind == "holdout" else 0.0
        self.needs_weight_credit = credit.kind == "gradient"

    def quote(self, layer: int) -> LayerQuote:
        return self._quotes.of(layer)

    def resting_quote(self, layer: int) -> LayerQuote:
        return self._quotes.of(layer).at_rest()

    def open_window(self) -> Window:
        return CalibratedWindow(self.config, self.state)

    @torch.no_grad()
    def settle(
        self,
        window: Window,
        critics: Sequence[nn.Module],
        *,
        phase_name: str,  # noqa: ARG002
        ranks: Ranks = ALONE,
    ) -> MarketReport:
        assert isinstance(window, CalibratedWindow)
        return settle_calibrated(self.config, self.state, window, critics, ranks)

    def accounts(self) -> dict[str, Tensor]:
        state = self.state
        return {
            ledger.EXPERTS: state.capital.sum(-1),
            ledger.TREASURY: state.treasury,
            ledger.VENTURES: state.grants.sum(-1),
            ledger.CRITICS: state.purse,
        }

    def critic_losses(self, difficulty: Tensor, affinity: Tensor, outcome: Outcome) -> dict[str, Tensor]:
        state = self.state
        mean, deviation = state.loss_mean(), state.loss_deviation()
        losses = {"critic_difficulty": critic_losses.difficulty_loss(difficulty, outcome, mean, deviation)}
        if self.config.critic.affinity_trained:
            outlook = quoting.outlook(self.config, state)
            losses["critic_affinity"] = critic_losses.affinity_loss(affinity, outcome.mask, outlook)
        return losses
