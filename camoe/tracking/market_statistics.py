"""What the market did over one window of settlements: flows as means per settlement, states as they were last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camoe.config.economy import EconomyConfig, MoneyConfig
from camoe.economy.market_report import BURNED, MINTED, MarketReport
from camoe.tracking.distribution import Array, normalised_entropy
from camoe.tracking.layer_values import over_layers, series_of

TAXES = ("wealth_tax", "idle_tax")
SUMMED = ("profit_flow", "selected_share")
FLOW_NAMES = {"critic_score": "critic_earned"}
"""Names that a report gives to a flow, where a state has the same one."""
STATE_NAMES = {
    "money": "money_total",
    "minted": "minted_total",
    "burned": "burned_total",
    "market_efficiency": "efficiency",
    "difficulty_r2": "critic_difficulty_r2",
}
Z_95 = 1.96  # standard errors on either side of a 95 % interval


def market_statistics_of(economy: EconomyConfig) -> MarketStatistics:
    """Empty statistics that know the size of the economy."""
    return MarketStatistics(economy.total_capital if isinstance(economy, MoneyConfig) else 1.0)


class MarketStatistics:
    """Accumulates the reports of settlements until `reset`. total_capital: the money M of one layer."""

    def __init__(self, total_capital: float) -> None:
        self.total_capital = total_capital
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new window begins."""
        self._flows: dict[str, Tensor] = {}
        self._states: dict[str, Tensor] = {}
        self._residuals: dict[str, Tensor] = {}
        self._settlements = 0

    @torch.no_grad()
    def add(self, report: MarketReport) -> None:
        """Add one settlement; an economy without capital reports nothing. Nothing is read back from the device."""
        if not report.metrics:
            return
        self._settlements += 1
        self._states = {name: value for name, value in report.metrics.items() if name not in SUMMED}
        flows = {**report.flows, **{name: report.metrics[name] for name in SUMMED}}
        self._flows = {name: self._flows[name] + v if name in self._flows else v for name, v in flows.items()}
        residuals = {"ledger_residual": report.residual.abs(), "critic/purse_residual": report.purse_residual.abs()}
        earlier = self._residuals or residuals
        self._residuals = {name: torch.maximum(earlier[name], v) for name, v in residuals.items()}

    def metrics(self) -> dict[str, float]:
        """Means over layers, and the worst layer of the headline metrics; empty without settlements."""
        return over_layers(self._values())

    def series(self) -> dict[str, Any]:
        """The same per layer ([L] lists) and per expert ([L][E] lists)."""
        return series_of(self._values())

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint in the middle of a window."""
        parts = {"flow": self._flows, "state": self._states, "residual": self._residuals}
        tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return {**tensors, "settlements": torch.tensor(self._settlements)}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from `state()`."""
        self.reset()
        parts = {"flow": self._flows, "state": self._states, "residual": self._residuals}
        for key, value in state.items():
            part, _, name = key.partition(".")
            if name:
                parts[part][name] = value.to(device)
        self._settlements = int(state["settlements"])

    def _values(self) -> dict[str, Array]:
        if not self._settlements:
            return {}
        flows = {FLOW_NAMES.get(k, k): _array(value) / self._settlements for k, value in self._flows.items()}
        states = {STATE_NAMES.get(k, k): _array(value) for k, value in self._states.items()}
        residuals = {name: _array(value) for name, value in self._residuals.items()}
        money = np.maximum(self.total_capital, states["money_total"])
        residuals["ledger_residual"] = residuals["ledger_residual"] / money
        values = {**flows, **_without_unmeasured(states), **residuals, **_totals(flows, states), **_spread(states)}
        return {_recorded_name(name): value for name, value in values.items()}


def _totals(flows: dict[str, Array], states: dict[str, Array]) -> dict[str, Array]:
    """Sums of flows; an economy that keeps count of its money itself has no others than taxes."""

    def total(names: Iterable[str]) -> Array:
        return np.sum([flows[name] for name in names if name in flows], axis=0, dtype=np.float64)

    own_count = "minted_total" in states
    sums = {"taxes": TAXES} if own_count else {"taxes": TAXES, "minted": MINTED, "burned": BURNED}
    return {name: total(names) for name, names in sums.items()}


def _spread(states: dict[str, Array]) -> dict[str, Array]:
    """How unequal capital and, where there are any, tolls are."""
    capital_share = states["capital_share"]
    spread = {"top_share": capital_share.max(-1), "capital_entropy": normalised_entropy(capital_share)}
    if "congestion_price" in states:
        spread["congestion_spread"] = np.ptp(states["congestion_price"], axis=-1)
    return spread


def _without_unmeasured(states: dict[str, Array]) -> dict[str, Array]:
    """States with the interval of what the market is worth; without that while too few sequences are held out.

    A gain without an error is no measurement, and would read as a market worth exactly nothing.
    """
    error = states.get("holdout_error")
    if error is None or not error.all():
        unmeasured = ("holdout_gain", "holdout_error", "holdout_tau")
        return {name: value for name, value in states.items() if name not in unmeasured}
    gain = states["holdout_gain"]
    return {**states, "holdout_low": gain - Z_95 * error, "holdout_high": gain + Z_95 * error}


def _recorded_name(name: str) -> str:
    """`critic_purse` -> `critic/purse`, `alpha` -> `market/alpha`."""
    if name.startswith("critic_"):
        return name.replace("critic_", "critic/", 1)
    return name if "/" in name else f"market/{name}"


def _array(value: Tensor) -> Array:
    return value.double().cpu().numpy()
