"""What the routers did over one window of micro-batches: sums on the device, metrics when somebody asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camoe.kernels.ranks import Ranks
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.routing.capacity import Capacity
from camoe.routing.decision import RoutingDecision
from camoe.routing.router import Router
from camoe.tracking.distribution import (
    Array,
    coefficient_of_variation,
    entropy,
    gini,
    maxvio_of_chance,
    normalised_entropy,
    shares,
)
from camoe.tracking.layer_values import over_layers, series_of
from camoe.tracking.metric_definitions import BY_RECORDED_NAME
from camoe.tracking.routing_sums import maxvio, micro_batch_sums

DEAD_BELOW = 0.01  # of the mean load
HELD_OUT = (
    *("maxvio_global", "maxvio_noise_floor", "load", "load_entropy", "dead_experts", "gate_mi"),
    *("trans_share", "flops_per_token", "market_flip_rate"),
)


def routing_statistics_of(model: LanguageModel) -> RoutingStatistics:
    """Empty statistics that know the model's experts and what they cost."""
    cost = model_cost(model)
    router: Router = model.blocks[0].mixture.router  # type: ignore[union-attr, assignment]
    return RoutingStatistics(
        model.config.experts.first_prefix, cost.expert_flops, cost.bridge_flops, cost.other_flops, router.capacity
    )


class RoutingStatistics:
    """Accumulates micro-batches until `reset`; experts with index >= n_cheap are Transformer experts.

    expert_flops: [E] or [L,E] forward FLOPs per token of each expert. bridge_flops: the bridge's part of them, spent
    once for a token even if several Transformer experts won it. other_flops: those of everything else in the model.
    capacity: what limits the experts' load, if anything does.
    """

    def __init__(
        self,
        n_cheap: int,
        expert_flops: Sequence[float] | Sequence[Sequence[float]],
        bridge_flops: float = 0.0,
        other_flops: float = 0.0,
        capacity: Capacity | None = None,
    ) -> None:
        self.n_cheap = n_cheap
        self.expert_flops = np.asarray(expert_flops, dtype=np.float64)
        self.bridge_flops, self.other_flops, self.capacity = bridge_flops, other_flops, capacity
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new window begins."""
        self._sums: dict[str, Tensor] = {}
        self._micro_batches = 0
        self._winners = 0

    @torch.no_grad()
    def add(self, routing: RoutingDecision, mask: Tensor) -> None:
        """Add one micro-batch; mask [B,T] is True at real targets. Nothing is read back from the device."""
        self._take_in(self._measure(routing, mask))

    @torch.no_grad()
    def add_step(self, routed: Sequence[tuple[RoutingDecision, Tensor]], ranks: Ranks) -> None:
        """Add what all ranks routed in one optimiser step; `routed` are this rank's decisions and masks."""
        for sums in ranks.micro_batches([self._measure(routing, mask) for routing, mask in routed]):
            self._take_in(sums)

    @torch.no_grad()
    def sum_over(self, ranks: Ranks) -> None:
        """Make the statistics those of all ranks."""
        *sums, micro_batches = ranks.sum([*self._sums.values(), torch.tensor(self._micro_batches)])
        self._sums, self._micro_batches = dict(zip(self._sums, sums, strict=True)), int(micro_batches)

    def _measure(self, routing: RoutingDecision, mask: Tensor) -> dict[str, Tensor]:
        self._winners = routing.experts.shape[-1]
        sums = {**micro_batch_sums(routing, mask, self.n_cheap), "tokens": mask.sum()}
        if routing.overflow is not None:
            assert self.capacity is not None, "who overflowed is known to the capacity alone"
            sums["places"] = mask.new_full((), self.capacity.in_all(*mask.shape), dtype=torch.float64)
        return sums

    def _take_in(self, sums: Mapping[str, Tensor]) -> None:
        for name, value in {**sums, "maxvio_micro": maxvio(sums["load"])}.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._micro_batches += 1

    def metrics(self) -> dict[str, float]:
        """Means over layers, and the worst layer of the headline metrics; empty without real tokens."""
        layered, scalars = self._results()
        return {**scalars, **over_layers(layered)}

    def series(self) -> dict[str, Any]:
        """The same per layer ([L] lists) and per expert ([L][E] lists)."""
        return series_of(self._results()[0])

    def held_out(self, room: str) -> dict[str, Any]:
        """Metrics and series of an evaluation (room `valid` or `final`), from the same sums."""
        both = {**self.metrics(), **self.series()}
        renamed = {name.replace("routing/maxvio_batch", "routing/maxvio_global"): v for name, v in both.items()}
        kept = {name.split("/", 1)[1]: v for name, v in renamed.items()}
        return {
            f"{room}/{name}": value
            for name, value in kept.items()
            if name.split("/")[0] in HELD_OUT and f"{room}/{name}" in BY_RECORDED_NAME
        }

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint in the middle of a window; the counts that are no tensors travel as one."""
        sums = {name: value.clone() for name, value in self._sums.items()}  # some share their memory
        return {**sums, "counts": torch.tensor([self._micro_batches, self._winners])}

    def load_state(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Go on from `state()`."""
        self._sums = {name: value.to(device) for name, value in state.items() if name != "counts"}
        self._micro_batches, self._winners = state["counts"].tolist()

    def _results(self) -> tuple[dict[str, Array], dict[str, float]]:
        """([L] or [L,E] arrays by metric name, numbers of the whole model)."""
        sums = {name: value.cpu().numpy() for name, value in self._sums.items()}
        tokens = int(sums.pop("tokens", 0))
        if not tokens:
            return {}, {}
        load, bridged = sums.pop("load"), sums.pop("bridged")
        served, capacity = load.sum(-1), _capacity_metrics(sums, tokens)
        micro = sums.pop("maxvio_micro") / self._micro_batches
        layered = {
            **_load_metrics(load),
            **self._compute_metrics(load, bridged, tokens),
            **self._router_metrics({name: value / tokens for name, value in sums.items()}, load),
            "routing/maxvio_micro": micro,
            "routing/winners_per_token": served / tokens,
            **capacity,
        }
        scalars = {
            "routing/tokens": float(tokens),
            "routing/maxvio_noise_floor": maxvio_of_chance(tokens, load.shape[-1], float(served.mean()) / tokens),
            "routing/flops_per_token": self.other_flops + float(layered["routing/expert_flops_per_token"].sum()),
        }
        return layered, scalars

    def _compute_metrics(self, load: Array, bridged: Array, tokens: int) -> dict[str, Array]:
        repeated = load[:, self.n_cheap :].sum(-1) - bridged
        flops = (load * self.expert_flops).sum(-1) - repeated * self.bridge_flops
        return {
            "routing/trans_share": shares(load)[:, self.n_cheap :].sum(-1),
            "routing/expert_flops_per_token": flops / tokens,
        }

    def _router_metrics(self, mean: dict[str, Array], load: Array) -> dict[str, Array]:
        """From means over tokens, [L] or [L,E]."""
        n_expert, k = load.shape[-1], self._winners
        probability = mean["gate_probability"]
        nats = math.log(n_expert) if n_expert > 1 else 1.0
        token, marginal = mean.pop("gate_entropy") / nats, normalised_entropy(probability)
        adjusted = mean.pop("adjusted_entropy")
        market = ("bias_std", "bias_spread", "market_flip_rate", "price_mean", "surplus_mean")
        named = {f"{'market' if name in market else 'routing'}/{name}": value for name, value in mean.items()}
        named |= {
            "routing/gate_entropy_token": token,
            "routing/gate_entropy_marginal": marginal,
            "routing/gate_mi": marginal - token,
            "routing/balance_raw": n_expert * (shares(load) * probability).sum(-1),
            "routing/winner_from_adjusted_entropy": adjusted,
            "routing/adjusted_entropy_normalised": adjusted / nats,
            "routing/weight_share": shares(mean["weight_share"]),
            "routing/trans_weight_share": shares(mean["weight_share"])[:, self.n_cheap :].sum(-1),
        }
        if k > 1:
            named["routing/weight_entropy_normalised"] = mean["weight_entropy"] / math.log(k)
        return named


def _capacity_metrics(sums: dict[str, Array], tokens: int) -> dict[str, Array]:
    """Where a capacity was counted; takes its sums out of the others."""
    if "places" not in sums:
        return {}
    within, beyond, lost = (sums.pop(name) for name in ("within_capacity", "overflow", "lost_tokens"))
    return {
        "routing/capacity_use": within / sums.pop("places"),
        "routing/drop_rate": beyond / np.maximum(within + beyond, 1),
        "routing/token_drop_rate": lost / tokens,
    }


def _load_metrics(load: Array) -> dict[str, Array]:
    """From assignments [L,E]."""
    share = shares(load)
    mean = np.maximum(load.mean(-1), np.finfo(float).tiny)
    return {
        "routing/load": share,
        "routing/maxvio_batch": load.max(-1) / mean - 1,
        "routing/load_imbalance": load.max(-1) / mean,
        "routing/minvio": 1 - load.min(-1) / mean,
        "routing/load_cv": coefficient_of_variation(load),
        "routing/load_entropy": normalised_entropy(share),
        "routing/effective_experts": np.exp(entropy(share)),
        "routing/kl_uniform": math.log(load.shape[-1]) - entropy(share),
        "routing/load_gini": gini(load),
        "routing/balance_count": load.shape[-1] * (share**2).sum(-1),
        "routing/dead_experts": (load < DEAD_BELOW * mean[:, None]).sum(-1).astype(np.float64),
    }
