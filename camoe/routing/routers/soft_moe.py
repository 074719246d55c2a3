"""Soft MoE: experts see mixtures of tokens. Not causal: an upper bound, no rival."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.config.learned_router import SoftMoEConfig
from camoe.economy.critic import CriticOpinion
from camoe.routing.decision import RoutingDecision
from camoe.routing.linear_gate import LinearGate
from camoe.routing.router import Router, RoutingContext


@dataclass(frozen=True, kw_only=True)
class SoftDecision(RoutingDecision):
    """What statistics see of it: every expert serves every token, with the share of the token's output that is its.

    dispatch, combine: [B,T,S] for S slots, slot s being expert s // (S/E)'s; dispatch sums to 1 over tokens, combine
    over slots. The mixture executes them, see `camoe.model.soft_slots`.
    """

    dispatch: Tensor
    combine: Tensor


class SoftMoE(Router):
    """With z = h Phi [B,T,S]: D = softmax over a sequence's tokens, C = softmax over slots; y = C expert(D^T h).

    Source: Puigcerver et al. 2023 (arXiv 2308.00951), without its normalisation of h and Phi. Every slot holds a bit of
    every token of its sequence, later ones included. As many FLOPs as top-k takes S = T k slots, that is
    `slots` = T k / E for each expert.
    """

    def __init__(self, config: SoftMoEConfig, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.top_k, self.n_expert, self.slots = config.top_k, n_expert, config.slots
        self.gate = LinearGate(n_embd, n_expert * config.slots)

    def forward(self, h: Tensor, context: RoutingContext, opinion: CriticOpinion | None) -> SoftDecision:
        """See Router."""
        del opinion
        by_expert, terms = self.gate(h).unflatten(-1, (self.n_expert, self.slots)), context.terms
        preferred = terms.admitted(torch.zeros_like(by_expert[..., 0].detach()))
        logits = (by_expert + preferred[..., None]).flatten(-2)
        combine = torch.softmax(logits, -1)
        share = combine.unflatten(-1, (self.n_expert, self.slots)).sum(-1)
        experts = share.detach().argsort(dim=-1, descending=True, stable=True)
        gate_logits = torch.logsumexp(by_expert, -1)
        return SoftDecision(
            experts=experts,
            weights=terms.weighed(share.gather(-1, experts)),
            price=torch.zeros_like(share[..., 0].detach()),
            gate_logits=gate_logits,
            selection_bias=torch.zeros_like(share.detach()),
            adjusted_logits=gate_logits.detach(),
            dispatch=torch.softmax(logits, 1),
            combine=combine,
        )
