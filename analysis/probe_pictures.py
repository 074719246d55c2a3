"""Plots of who served the probe: the same held-out tokens at every evaluation of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from matplotlib.figure import Figure

from analysis import routing_dynamics
from analysis.picture import Picture, picture
from analysis.plots import coactivation_map, settling
from analysis.probe_files import Probe, read_probe
from analysis.run_history import NotRecorded, RunHistory
from analysis.run_outline import RunOutline
from camoe.config import ConfigError


def probe_pictures(run: RunOutline, history: RunHistory) -> list[Picture]:
    """Saturation, churn, co-activation."""

    @cache
    def probe() -> Probe:
        try:
            return read_probe(run.folder)
        except (ConfigError, OSError, ValueError, KeyError) as error:
            raise NotRecorded(f"no readings in probe/: {error}") from error

    return [
        picture("Router saturation", settling.SATURATION, lambda: _saturation(history, probe)),
        picture("Routing churn", settling.CHURN, lambda: _churn(history, probe)),
        picture(
            coactivation_map.TITLE, coactivation_map.HOW_TO_READ, lambda: _coactivation(run, history, probe), wide=True
        ),
    ]


def _saturation(history: RunHistory, probe: Callable[[], Probe]) -> Figure:
    read = _of_two_readings(probe)
    chance = routing_dynamics.overlap_of_chance(
        routing_dynamics.winners_per_token(read.winners), _n_expert(history, read)
    )
    saturation = routing_dynamics.router_saturation(read.winners)
    return settling.saturation_over_time(history.tokens_at(read.steps.tolist()), saturation, chance)


def _churn(history: RunHistory, probe: Callable[[], Probe]) -> Figure:
    read = _of_two_readings(probe)
    chance = 1 - routing_dynamics.overlap_of_chance(
        routing_dynamics.winners_per_token(read.winners), _n_expert(history, read)
    )
    churn = routing_dynamics.routing_churn(read.winners)
    return settling.churn_over_time(history.tokens_at(read.steps.tolist()[1:]), churn, chance)


def _coactivation(run: RunOutline, history: RunHistory, probe: Callable[[], Probe]) -> Figure:
    read = probe()
    winners = read.winners[-1]
    k, n_expert = routing_dynamics.winners_per_token(winners), _n_expert(history, read)
    if winners.shape[-1] < 2:
        raise NotRecorded("a token has one winner only")
    together = routing_dynamics.coactivation(winners, n_expert)
    chance = routing_dynamics.coactivation_of_chance(k, n_expert)
    return coactivation_map.coactivation_map(together, chance, run.expert_names(n_expert))


def _of_two_readings(probe: Callable[[], Probe]) -> Probe:
    read = probe()
    if len(read.steps) < 2:
        raise NotRecorded("the probe was read once only")
    return read


def _n_expert(history: RunHistory, read: Probe) -> int:
    """From the records of load; where there are none, as many as have won anything."""
    load = history.last("routing/load/by_expert") or history.last("final/load/by_expert")
    return len(load[0]) if load else int(np.max(read.winners)) + 1
