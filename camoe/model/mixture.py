"""The mixture layer: elect, run, weigh. It replaces RWKV's channel mixing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from camoe.config.economy import EconomyConfig, critic_of
from camoe.config.experts import ExpertsConfig
from camoe.config.model import ModelConfig
from camoe.config.router import RouterConfig
from camoe.economy.critic import Critic
from camoe.kernels.row_exchange import RowExchange
from camoe.model.bridge import OpenBridge
from camoe.model.dispatch import TokenInputs, run_experts
from camoe.model.expert_parallel import owned_experts, run_experts_of_owners
from camoe.model.experts.build import build_experts, build_shared_experts
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.experts.zero import weights_without_zero_experts
from camoe.model.grouped_dispatch import run_experts_grouped
from camoe.model.routing_trace import LayerRouting
from camoe.model.seeded_construction import seeded
from camoe.model.soft_slots import mix_by_slots
from camoe.routing.build import build_router
from camoe.routing.decision import RoutingDecision
from camoe.routing.router import RoutingContext
from camoe.routing.routers.soft_moe import SoftDecision


class Mixture(nn.Module):
    """E heterogeneous experts, a router, experts that serve always and, where the economy has money, a critic.

    `dispatch`, segments or grouped, is the form in which the experts run. `exchange` reaches the processes that own
    some of them each; None: all run here.
    """

    def __init__(
        self,
        layer_id: int,
        model: ModelConfig,
        experts: ExpertsConfig,
        router: RouterConfig,
        economy: EconomyConfig,
        seed: int,
    ) -> None:
        super().__init__()
        self.dispatch = "segments"
        self.exchange: RowExchange | None = None
        name = f"blocks.{layer_id}.mixture"
        self.experts = nn.ModuleList(build_experts(layer_id, model, experts, seed=seed, name=f"{name}.experts"))
        self.shared = nn.ModuleList(build_shared_experts(layer_id, model, experts, seed=seed, name=f"{name}.shared"))
        self.zero_experts = [index for index, expert in enumerate(self.expert_list()) if expert.kind == "zero"]
        with seeded(seed, f"{name}.router"):
            self.router = build_router(router, model.n_embd, experts.total)
        self.critic: Critic | None = None
        training = critic_of(economy)
        if training is not None:
            with seeded(seed, f"{name}.critic"):
                self.critic = Critic(model.n_embd, experts.total, training)

    def forward(
        self,
        h: Tensor,
        previous: Tensor,
        readout: Tensor | None,
        bridge: OpenBridge | None,
        context: RoutingContext,
    ) -> tuple[Tensor, LayerRouting]:
        """Weighted sum [B,T,C] of the winners' outputs, and what was decided.

        h, previous, readout: [B,T,C] hidden vectors, those of the tokens before, and the WKV state's readout, which
        only the bridge needs.
        """
        opinion = self.critic(h) if self.critic is not None else None
        decision = self.router(h, context, opinion)
        if self.router.capacity is not None and context.terms.training:
            decision = self.router.capacity.limit(decision)
        decision = self._leave_out_zero_experts(decision)
        if isinstance(decision, SoftDecision):
            run = partial(self._run, bridge)
            mixed = mix_by_slots(decision, h, previous, readout, len(self.experts), run).flatten(0, 1)
        else:
            winners, weights = self._serving(decision).flatten(0, 1), decision.weights.flatten(0, 1)
            flat_readout = None if readout is None else readout.flatten(0, 1)
            mixed = self._run(bridge, h.flatten(0, 1), previous.flatten(0, 1), flat_readout, winners, weights)
        for expert in self.shared:  # as DeepSeekMoE's, which no router sees (Dai et al., 2024, eq. 9)
            mixed = mixed + expert(h.flatten(0, 1), ExpertContext(previous.flatten(0, 1)))
        return mixed.unflatten(0, h.shape[:2]), LayerRouting(decision, opinion)

    def _run(
        self,
        bridge: OpenBridge | None,
        h: Tensor,
        previous: Tensor,
        readout: Tensor | None,
        winners: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Weighted sums [n,C] of the outputs of winners [n,K], from [n,C] each of what `forward` takes."""
        if self.exchange is None:
            return self._run_here(self.expert_list(), bridge, winners, weights, h, previous, readout)
        owned = [self.expert_list()[index] for index in owned_experts(self.exchange, len(self.experts))]
        brought = [h, previous] if readout is None or bridge is None else [h, previous, readout]

        def run_owned(rows: Tensor, experts: Tensor) -> Tensor:
            parts = rows.split([part.shape[1] for part in brought], dim=1)
            ones = torch.ones_like(experts, dtype=weights.dtype)
            return self._run_here(owned, bridge if len(parts) == 3 else None, experts, ones, *parts)

        rows = torch.cat(brought, dim=1)
        shared = bridge.prefix_map.tensors() if bridge is not None else ()
        return run_experts_of_owners(self.exchange, run_owned, len(self.experts), winners, weights, rows, shared)

    def _run_here(
        self,
        experts: list[Expert],
        bridge: OpenBridge | None,
        winners: Tensor,
        weights: Tensor,
        h: Tensor,
        previous: Tensor,
        readout: Tensor | None = None,
    ) -> Tensor:
        inputs = TokenInputs(h, previous)
        if bridge is not None:
            assert readout is not None, "the bridge reads the state of TimeMix"
            inputs = TokenInputs(h, previous, partial(bridge.bridge, h, readout), bridge.prefix_map)
        run = run_experts_grouped if self.dispatch == "grouped" else run_experts
        return run(experts, winners, weights, inputs)

    def _serving(self, decision: RoutingDecision) -> Tensor:
        """Winners [B,T,K]; E, which is nobody, where none serves."""
        if decision.active is None:
            return decision.experts
        return decision.experts.masked_fill(~decision.active, len(self.experts))

    def _leave_out_zero_experts(self, decision: RoutingDecision) -> RoutingDecision:
        """The decision with the weights that count where zero experts have won."""
        if not self.zero_experts:
            return decision
        winners = decision.experts
        is_zero = (winners >= self.zero_experts[0]) & (winners <= self.zero_experts[-1])
        return replace(decision, weights=weights_without_zero_experts(decision.weights, is_zero))

    def expert_list(self) -> list[Expert]:
        """The routed experts as their own type, kind by kind."""
        return list(self.experts)  # type: ignore[arg-type]
