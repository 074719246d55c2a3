"""What is minimised: the language model's cross-entropy, the router's auxiliary losses and the critic's losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.config.economy import critic_of
from camoe.economy.critic_loss import Outcome
from camoe.economy.settlement_window import MicroBatchRecord
from camoe.kernels.linear_cross_entropy import IGNORED
from camoe.kernels.ranks import ALONE, Ranks
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.balance_terms import BalanceLosses
from camoe.routing.election_terms import NO_EXPERIMENT, ElectionTerms
from camoe.training.preference import PreferenceOutcome, Preferences, preference_outcome


@dataclass(frozen=True)
class Batch:
    """inputs, targets: [B,T]; a target of -100 is padding and enters no loss, no market and no statistics.

    preferences: what is minimised are preferences among the rows; None: cross-entropy.
    """

    inputs: Tensor
    targets: Tensor
    preferences: Preferences | None = None

    @property
    def mask(self) -> Tensor:
        """[B,T], True where the target is real."""
        return self.targets != IGNORED


@dataclass(frozen=True)
class LossTerm:
    """One term of the total loss and the parameter groups it is meant to train.

    mean: [] mean over the real targets. weight: its coefficient times the micro-batch's share of the window's targets.
    """

    name: str
    mean: Tensor
    weight: Tensor
    trains: tuple[str, ...]

    @property
    def value(self) -> Tensor:
        """[] the term's part of the total loss."""
        return self.weight * self.mean


@dataclass(frozen=True)
class Losses:
    """The terms of one micro-batch, the token losses [B,T] in nats (0 where masked), and what was routed.

    outcome: that of its pairs of answers.
    """

    terms: list[LossTerm]
    token_loss: Tensor
    mask: Tensor
    trace: RoutingTrace
    outcome: PreferenceOutcome | None = None

    @property
    def total(self) -> Tensor:
        """The scalar that is differentiated."""
        return torch.stack([term.value for term in self.terms]).sum()

    def figures(self) -> dict[str, Tensor]:
        """Detached means of the pairs, weighted like the loss, so that those of a window's micro-batches add up."""
        means = self.outcome.means() if self.outcome is not None else {}
        return {f"preference/{name}": self.terms[0].weight * value for name, value in means.items()}

    def named(self) -> dict[str, Tensor]:
        """Detached value of every term."""
        return {term.name: term.value.detach() for term in self.terms}


def compute_losses(
    model: LanguageModel,
    batch: Batch,
    elections: ElectionTerms = NO_EXPERIMENT,
    trace: RoutingTrace | None = None,
    *,
    window_tokens: Tensor | None = None,
    window_load: Tensor | None = None,
    ranks: Ranks = ALONE,
) -> Losses:
    """Losses of one micro-batch, scaled so that the micro-batches of a window add up to the window's mean.

    elections: the terms of its elections. trace: an empty one to be filled. window_tokens: valid targets of the whole
    window, all ranks included; None: of this batch. window_load: assignments of the whole window to each expert, [L,E];
    None: this rank runs no other micro-batch of it. ranks: those that may share the micro-batch.
    """
    trace = trace if trace is not None else RoutingTrace()
    hidden, _ = model.hidden(batch.inputs, terms=elections, trace=trace)
    valid = batch.mask.sum().clamp(min=1)
    share = torch.ones_like(valid) if window_tokens is None else valid / window_tokens
    main, token_loss, outcome = _main_term(model, batch, hidden, valid, share)
    terms = [
        main,
        *_balance_terms(model, trace, batch.mask, share, window_load, ranks),
        *_critic_terms(model, trace, token_loss, batch.mask, share, ranks),
    ]
    return Losses(terms, token_loss, batch.mask, trace, outcome)


def _main_term(
    model: LanguageModel, batch: Batch, hidden: Tensor, valid: Tensor, share: Tensor
) -> tuple[LossTerm, Tensor, PreferenceOutcome | None]:
    """What the phase is about: cross-entropy, or DPO on the rows' pairs; and the detached token losses [B,T]."""
    groups = _groups_of_language_model(model)
    if batch.preferences is None:
        nats, token_loss = model.cross_entropy(hidden, batch.targets)
        return LossTerm("language_model", nats / valid, share, groups), token_loss, None
    losses = model.token_cross_entropy(hidden, batch.targets)
    pairs = batch.preferences
    outcome = preference_outcome(-losses.sum(1).view(-1, 2), pairs.reference, pairs.beta)
    weight = torch.full_like(outcome.margin[0].detach(), pairs.share)
    return LossTerm("preference", outcome.loss.mean(), weight, groups), losses.detach(), outcome


def _groups_of_language_model(model: LanguageModel) -> tuple[str, ...]:
    """The groups that the language-model loss trains in this composition."""
    mix = model.config.experts
    optional = {
        "router_gate": mix.total > 1 and model.config.router.learns,
        "rwkv_experts": mix.cheap_learn,
        "transformer_experts": mix.transformer_prefix > 0,
        "bridge": mix.transformer_prefix > 0,
    }
    return ("rwkv_backbone", "embedding_head", *(group for group, present in optional.items() if present))


def _balance_terms(
    model: LanguageModel, trace: RoutingTrace, mask: Tensor, share: Tensor, window: Tensor | None, ranks: Ranks
) -> list[LossTerm]:
    if not model.config.router.learns:
        return []
    routing = trace.decision(detached=False)
    terms = [
        *BalanceLosses(model.config.router.losses, model.relative_cost).terms(routing, mask, window, ranks),
        *model.balancer.losses(routing, mask, ranks),
    ]
    return [LossTerm(term.name, term.mean, term.weight * share, ("router_gate",)) for term in terms]


def _critic_terms(
    model: LanguageModel, trace: RoutingTrace, token_loss: Tensor, mask: Tensor, share: Tensor, ranks: Ranks
) -> list[LossTerm]:
    """What the economy's critics learn, averaged over layers."""
    training = critic_of(model.config.economy)
    if training is None or not training.loss_weight:
        return []
    outcome = Outcome(trace.stacked("experts"), trace.stacked("price"), token_loss, mask, ranks)
    losses = model.market.critic_losses(*trace.stacked_critic(), outcome)
    return [LossTerm(name, loss, training.loss_weight * share, ("critic",)) for name, loss in losses.items()]


def settlement_record(
    model: LanguageModel, losses: Losses, terms: ElectionTerms, window_tokens: Tensor
) -> MicroBatchRecord:
    """What a market with capital needs to know of one micro-batch after its backward pass, without gradients."""
    difficulty, affinity = losses.trace.stacked_critic()
    critic = [term.mean.detach() for term in losses.terms if term.name.startswith("critic")]
    return MicroBatchRecord(
        winners=losses.trace.stacked("experts"),
        price=losses.trace.stacked("price"),
        gate_logits=losses.trace.stacked("gate_logits").detach(),
        selection_bias=losses.trace.stacked("selection_bias"),
        affinity=affinity.detach(),
        difficulty=difficulty.detach(),
        token_loss=losses.token_loss,
        mask=losses.mask,
        market_off=terms.market_off if model.market.bidding else None,
        weight_credit=losses.trace.weight_credit() * window_tokens if model.market.needs_weight_credit else None,
        critic_loss=torch.stack(critic).sum() if critic else losses.token_loss.new_zeros(()),
    )
