"""ReMoE: the gate's ReLU elects and weighs, and an L1 loss with a steered weight keeps it sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.learned_router import ReMoEConfig
from camoe.kernels.ranks import ALONE, Ranks
from camoe.routing.balance_terms import BalanceTerm, layer_assignments
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.balancers.toll import Toll
from camoe.routing.decision import RoutingDecision
from camoe.routing.variable_router import VariableRouter


class ReMoE(VariableRouter):
    """Expert e serves token t iff z_te > 0 (z_te > mu kappa_e under a price of compute), with weight relu(z_te).

    Source: Wang et al. 2024 (arXiv 2412.14711), eq. 5.
    """

    def scores(self, logits: Tensor) -> Tensor:
        """relu(z)."""
        return torch.relu(logits)


class ReMoEBalancer(Toll):
    """The weight lambda of the L1 loss; the loss is lambda sum_let f_le R_te / (L N).

    f_le = E n_le / (k N) with n_le of N tokens of the micro-batch served by expert e of layer l, detached: crowded
    experts are pressed down more. Once per optimiser step lambda <- lambda alpha^sign((1 - k/E) - S), S = share of
    (token, expert) pairs that are not active. Source: eq. 7-11; `l1_init` 1e-8 and alpha = `l1_factor` 1.2 as there.
    """

    coefficient: Tensor
    """[], lambda."""

    def __init__(self, config: ReMoEConfig, n_layer: int, n_expert: int, compute: ComputePrice) -> None:
        super().__init__(compute)
        self.config, self.wanted, self.n_expert = config, n_layer * config.top_k, n_expert
        self.register_buffer("coefficient", torch.tensor(config.l1_init, dtype=torch.float64))

    def losses(self, routing: RoutingDecision, mask: Tensor, ranks: Ranks = ALONE) -> list[BalanceTerm]:
        """See Balancer."""
        served = ranks.whole_micro_batch(layer_assignments(routing, mask))
        tokens = ranks.whole_micro_batch(mask.sum()[None].float())
        crowding = self.n_expert * served / (self.config.top_k * tokens.clamp(min=1))
        strength = torch.where(mask[..., None], torch.relu(routing.gate_logits.float()), 0).mean((1, 2))
        mean = (crowding * strength).sum(-1).mean() * mask.numel() / mask.sum().clamp(min=1)
        return [BalanceTerm("sparsity", mean, self.coefficient.float())]

    def end_step(self, sums: dict[str, Tensor]) -> None:
        """See Balancer."""
        super().end_step(sums)
        too_many = (sums["served"].sum() - self.wanted * sums["tokens"]).sign()
        self.coefficient.mul_(self.config.l1_factor**too_many)
