"""CaMoE as published: the peer of the whole-step, generation and memory rows. Own writing, from the model's formulas.

It reads the weights of a LanguageModel and computes the same logits, losses and gradients in the published way:

- the WKV-7 recurrence is a Python loop over time;
- experts are visited one by one, each with a mask over all tokens, and add to their rows of the output;
- a Transformer expert gets a materialised prefix [n,P,C] and computes keys and values of every token's prefix;
- every expert's confidence is a network of its own;
- all logits exist at once, in the loss and in its gradient;
- generation reads the whole context again for every token.

Where the published code is slow in a way that says nothing about the model, it is spared that: the settlement and the
optimiser are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.published_layers import confidences, masked_experts, time_mix
from camoe.economy.critic_loss import Outcome, affinity_loss, difficulty_loss
from camoe.economy.market import CapitalMarket
from camoe.economy.settlement_window import MicroBatchRecord
from camoe.model.language_model import LanguageModel
from camoe.model.mixture import Mixture
from camoe.routing.balance_losses import assignments, balance_loss, load_share
from camoe.training.objectives import Batch


class Vote(NamedTuple):
    """One layer's election: winners [B,T,K], price and difficulty [B,T], the others [B,T,E]."""

    winners: Tensor
    price: Tensor
    gate: Tensor
    bias: Tensor
    difficulty: Tensor
    affinity: Tensor


class PublishedCaMoE:
    """The published way over the weights of `model`, which stay shared with it."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.config = model, model.config
        assert isinstance(model.market, CapitalMarket)
        self.market = model.market

    def logits(self, tokens: Tensor, noise: Tensor | None = None, votes: list[Vote] | None = None) -> Tensor:
        """Logits [B,T,V] from tokens [B,T]; `votes` receives every layer's election."""
        x = self.model.ln0(self.model.emb(tokens))
        v_first: Tensor | None = None
        for layer, block in enumerate(self.model.blocks):
            out, readout, v_first = time_mix(block.att, block.ln1(x), v_first)  # type: ignore[arg-type, operator]
            x = x + out
            layer_noise = None if noise is None else noise[:, layer]
            out, vote = self._mixture(layer, block.ln2(x), readout, layer_noise)  # type: ignore[operator]
            x = x + out
            if votes is not None:
                votes.append(vote)
        return self.model.logits(self.model.ln_out(x))

    def losses(self, batch: Batch, noise: Tensor | None = None) -> tuple[Tensor, MicroBatchRecord]:
        """The loss that training minimises, of one unpadded batch, and what the market has to know."""
        votes: list[Vote] = []
        logits = self.logits(batch.inputs, noise, votes)
        wide = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
        token_loss = F.cross_entropy(wide, batch.targets.flatten(), reduction="none")
        token_loss = token_loss.view(batch.targets.shape)
        critic = self._critic_loss(votes, token_loss.detach(), batch.mask)
        weights = (self.config.router.losses.switch.weight, self.market.config.critic.loss_weight)
        total = token_loss.mean() + weights[0] * _balance_loss(votes, batch.mask) + weights[1] * critic
        return total, _record(votes, token_loss.detach(), batch.mask, critic.detach())

    def step(self, optimizer: torch.optim.Optimizer, batch: Batch, noise: Tensor, grad_clip: float) -> None:
        """One optimiser step over one batch: losses, gradients, settlement, weights."""
        optimizer.zero_grad(set_to_none=True)
        loss, record = self.losses(batch, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), grad_clip)
        window = self.market.open_window()
        window.add(record)
        self.market.settle(window, self.model.critics(), phase_name="normal")
        optimizer.step()

    @torch.no_grad()
    def next_token(self, context: Tensor) -> Tensor:
        """The most likely token [B] after the context [B,T], all of which is read."""
        return self.logits(context)[:, -1].argmax(-1)

    def _mixture(self, layer: int, h: Tensor, readout: Tensor, noise: Tensor | None) -> tuple[Tensor, Vote]:
        mixture: Mixture = self.model.blocks[layer].mixture  # type: ignore[assignment]
        assert mixture.critic is not None
        opinion = mixture.critic(h)
        gate = confidences(mixture.router.gate, h)  # type: ignore[arg-type]
        bias = self.market.quote(layer).bias(gate.detach(), opinion)
        bids = gate.detach() + bias
        if noise is not None:
            bids = bids + self.config.router.noise_std * noise
        top = torch.topk(bids, self.config.router.top_k + 1, dim=-1)
        winners, price = top.indices[..., :-1], top.values[..., -1]
        weights = torch.softmax(gate.gather(-1, winners), dim=-1)
        out = masked_experts(mixture.experts, self.model.bridge, h, readout, winners, weights)
        return out, Vote(winners, price, gate, bias, *opinion)

    def _critic_loss(self, votes: list[Vote], token_loss: Tensor, mask: Tensor) -> Tensor:
        total = token_loss.new_zeros(())
        for vote, baseline in zip(votes, self.market.state.baseline, strict=True):
            outcome = Outcome(vote.winners, vote.price, token_loss, mask)
            total = total + difficulty_loss(vote.difficulty, outcome, baseline)
            if self.market.config.critic.affinity_trained:
                total = total + affinity_loss(vote.affinity, outcome, baseline)
        return total / len(votes)


def _balance_loss(votes: list[Vote], mask: Tensor) -> Tensor:
    total = votes[0].gate.new_zeros(())
    for vote in votes:
        share = load_share(assignments(vote.winners.flatten(0, 1), vote.gate.shape[-1], mask.flatten()))
        total = total + balance_loss(vote.gate.flatten(0, 1)[None], share[None], mask.flatten()[None])
    return total / len(votes)


def _record(votes: list[Vote], token_loss: Tensor, mask: Tensor, critic_loss: Tensor) -> MicroBatchRecord:
    columns = Vote(*(torch.stack(column).detach() for column in zip(*votes, strict=True)))
    return MicroBatchRecord(
        winners=columns.winners,
        price=columns.price,
        affinity=columns.affinity,
        gate_logits=columns.gate,
        selection_bias=columns.bias,
        token_loss=token_loss,
        mask=mask,
        critic_loss=critic_loss,
    )
