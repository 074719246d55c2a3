"""What the optimiser steps between two records add up to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from camoe.model.language_model import LanguageModel
from camoe.tracking.ledger_window import LedgerWindow
from camoe.tracking.market_statistics import market_statistics_of
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.training.train_step import StepResult
from camoe.training.window_means import WindowMeans


class LogWindow:
    """Losses, routing, market and ledger since `reset`; its state travels in checkpoints, so it survives a stop."""

    def __init__(self, model: LanguageModel) -> None:
        self.statistics, self._means = routing_statistics_of(model), WindowMeans()
        self._market = market_statistics_of(model.config.economy)
        self._ledger = LedgerWindow(model.market.accounts)

    def add(self, result: StepResult) -> None:
        """An applied step; what was routed in it is in `statistics` already."""
        losses = result.losses
        self._means.add({f"loss/{name}": value for name, value in losses.items()} | result.figures)
        self._means.add(
            {"loss/total": torch.stack(list(losses.values())).sum(), "progress/grad_norm": result.grad_norm}
        )
        if result.market is not None:
            self._market.add(result.market)
            self._ledger.add(result.market)

    def record(self) -> dict[str, Any]:
        """The window under the names of metric_definitions."""
        return {
            **self._means.means(),
            **self.statistics.metrics(),
            **self.statistics.series(),
            **self._market.metrics(),
            **self._market.series(),
        }

    def booked(self) -> dict[str, Any] | None:
        """The window's ledger, None where nothing was booked."""
        return self._ledger.record()

    def reset(self) -> None:
        """Begin a new window."""
        for part in self._parts().values():
            part.reset()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Everything needed to go on, by part."""
        return {name: part.state() for name, part in self._parts().items()}

    def load_state(self, state: Mapping[str, Mapping[str, Tensor]], device: torch.device) -> None:
        """Go on from `state()`."""
        for name, part in self._parts().items():
            part.load_state(state[name], device)

    def _parts(self) -> dict[str, Any]:
        return {
            "means": self._means,
            "statistics": self.statistics,
            "market_statistics": self._market,
            "ledger": self._ledger,
        }
