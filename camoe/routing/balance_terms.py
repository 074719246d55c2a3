"""Which auxiliary losses a router's configuration asks for, from what was routed in one micro-batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from camoe.config.balance_loss import LossesConfig
from camoe.kernels.ranks import ALONE, Ranks
from camoe.routing.balance_losses import assignments, balance_loss, load_share, z_loss
from camoe.routing.decision import RoutingDecision


class BalanceTerm(NamedTuple):
    """One auxiliary loss: its mean [] over the real targets of the micro-batch and over layers, and its weight."""

    name: str
    mean: Tensor
    weight: Tensor | float


def chosen(routing: RoutingDecision) -> tuple[Tensor, Tensor | None]:
    """Whom the router chose, before any capacity had its say, and which of them count (None: all).

    Load that a capacity has cut is even already, and a loss on it would train nothing; Switch's too counts before.
    """
    if routing.first_choices is not None:
        return routing.first_choices, None
    if routing.active is None or routing.overflow is None:
        return routing.experts, routing.active
    return routing.experts, routing.active | routing.overflow


def layer_assignments(routing: RoutingDecision, mask: Tensor) -> Tensor:
    """[L,E] choices of each expert in a micro-batch, of all layers' decisions and the mask [B,T]."""
    experts, active = chosen(routing)
    counted = None if active is None else active.flatten(1, 2)
    return assignments(experts.flatten(1, 2), routing.gate_logits.shape[-1], mask.flatten(), counted)


class BalanceLosses:
    """The weighted losses of a run.

    relative_cost: [L,E] FLOPs of each expert over their mean.
    """

    def __init__(self, config: LossesConfig, relative_cost: Tensor) -> None:
        self.config, self.relative_cost = config, relative_cost

    def terms(
        self, routing: RoutingDecision, mask: Tensor, window: Tensor | None = None, ranks: Ranks = ALONE
    ) -> list[BalanceTerm]:
        """Losses of a micro-batch, of all layers' differentiable decisions and the mask [B,T].

        window: [L,E] assignments of the whole optimiser step, all ranks; None: this is its only micro-batch here.
        """
        config, terms = self.config, []
        if config.switch.weight and not everybody_serves(routing):  # otherwise the loss is the constant 1
            value = self._balance(config.switch.scope, routing, mask, window, ranks)
            terms.append(BalanceTerm("switch", value, config.switch.weight))
        if config.z.weight:
            value = z_loss(routing.gate_logits, mask, config.z.kind).mean()
            terms.append(BalanceTerm("z", value, config.z.weight))
        if config.cost.weight:
            value = self._balance(config.cost.scope, routing, mask, window, ranks, self.relative_cost)
            terms.append(BalanceTerm("cost", value, config.cost.weight))
        return terms

    def _balance(
        self,
        scope: str,
        routing: RoutingDecision,
        mask: Tensor,
        window: Tensor | None,
        ranks: Ranks,
        factor: Tensor | None = None,
    ) -> Tensor:
        """[] mean over layers of E sum_e factor_e f_e P_e, with f counted over `scope`; factor [L,E], 1 where None."""
        gate_logits, real = routing.gate_logits, mask
        if scope == "sequence":
            experts, active = chosen(routing)
            served = assignments(experts, gate_logits.shape[-1], mask, active)
        else:
            served = self._of_all_sequences(scope, routing, mask, window, ranks)[:, None]
            gate_logits, real = gate_logits.flatten(1, 2)[:, None], mask.flatten()[None]
        share = load_share(served)
        return balance_loss(gate_logits, share if factor is None else factor[:, None] * share, real).mean()

    @staticmethod
    def _of_all_sequences(
        scope: str, routing: RoutingDecision, mask: Tensor, window: Tensor | None, ranks: Ranks
    ) -> Tensor:
        """[L,E] assignments in a micro-batch, or in a window."""
        if scope == "global_batch" and window is not None:
            return window
        served = layer_assignments(routing, mask)
        return ranks.whole_micro_batch(served) if scope == "micro_batch" else ranks.sum([served])[0]


def everybody_serves(routing: RoutingDecision) -> bool:
    """Whether every expert serves every token."""
    return routing.active is None and routing.experts.shape[-1] == routing.gate_logits.shape[-1]
