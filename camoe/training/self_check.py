"""Start-up proof that the mechanism is alive: gradients reach what they are meant for, and nothing looks ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.model.compilation import uncompiled
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.model.precision import computing_in
from camoe.routing.election_terms import NO_EXPERIMENT, ElectionTerms
from camoe.training.objectives import Batch, Losses, compute_losses

ROUNDING = 1e-8  # gradient norms below it are noise of a term that is constant


class DeadMechanismError(RuntimeError):
    """A check failed; the text says which term is dead."""


@dataclass(frozen=True)
class Check:
    """One thing that was proved: what, and the figure that proves it."""

    what: str
    figure: float


def self_check(model: LanguageModel, batch: Batch) -> list[Check]:
    """Check every loss term, the gate with the market on and off, and causality; raise DeadMechanismError.

    Weights that start at zero and experts that start equal would hide live paths, so small random values are added to
    them during the checks, and they are put back afterwards. The market's state and every generator are left as they
    were.
    """
    bidding = model.market.bidding
    with _every_path_open(model), uncompiled(model):
        try:
            checks = [*_loss_terms_reach_their_groups(model, batch), *_gate_learns(model, batch)]
            checks += _causal(model, batch)
        finally:
            model.market.bidding = bidding
    model.zero_grad(set_to_none=True)
    return checks


def _losses(model: LanguageModel, batch: Batch) -> Losses:
    """Losses of elections that every expert wins somewhere, whatever the gate says.

    Tokens prefer the experts in turn, the first one twice: at perfect balance the balance loss is flat.
    """
    n_layer, n_expert = model.config.model.n_layer, model.config.experts.total
    turns = torch.arange(batch.inputs.shape[1], device=batch.inputs.device) % (n_expert + 1) % n_expert
    preference = 100.0 * torch.nn.functional.one_hot(turns, n_expert)
    preference = preference.expand(batch.inputs.shape[0], n_layer, -1, -1)
    return compute_losses(model, batch, ElectionTerms(preference=preference, training=True))


def _loss_terms_reach_their_groups(model: LanguageModel, batch: Batch) -> Iterator[Check]:
    losses = _losses(model, batch)
    for term in losses.terms:
        norms = _gradient_norms(model, term.mean)
        for group in term.trains:
            yield _alive(f"{term.name} -> {group}", norms[group])


def _gate_learns(model: LanguageModel, batch: Batch) -> Iterator[Check]:
    if not model.config.router.learns:
        yield _declared_static(model, batch)
    for bidding in (True, False) if model.market.has_capital else (False,):
        model.market.bidding = bidding
        language_model = _losses(model, batch).terms[0]
        if "router_gate" in language_model.trains:
            norm = _gradient_norms(model, language_model.value)["router_gate"]
            yield _alive(f"language_model -> router_gate, market {'on' if bidding else 'off'}", norm)


def _declared_static(model: LanguageModel, batch: Batch) -> Check:
    """No loss may reach a router that is declared static, or the control would be none."""
    norm = _gradient_norms(model, _losses(model, batch).total)["router_gate"]
    if norm:
        raise DeadMechanismError(f"self-check: router {model.config.router.kind} is declared static, yet it learns")
    return Check("gradient norm of the router, declared static", norm)


def _gradient_norms(model: LanguageModel, loss: Tensor) -> dict[str, float]:
    """Gradient norm of one loss term on every parameter group; 0 where the term does not reach it."""
    groups = parameter_groups(model)
    parameters = [parameter for group in groups.values() for parameter in group.values()]
    reached: dict[Tensor, Tensor | None] = {}
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        reached = dict(zip(parameters, gradients, strict=True))
    return {
        group: _norm([reached.get(parameter) for parameter in members.values()]) for group, members in groups.items()
    }


def _norm(gradients: list[Tensor | None]) -> float:
    norms = [gradient.float().norm() for gradient in gradients if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _alive(what: str, norm: float) -> Check:
    if not ROUNDING < norm < float("inf"):
        raise DeadMechanismError(f"self-check: {what}: gradient norm is {norm:g}, this term would train nothing")
    return Check(f"gradient norm of {what}", norm)


@torch.no_grad()
def _causal(model: LanguageModel, batch: Batch) -> Iterator[Check]:
    """Changing the last token must not change any earlier logit, in evaluation and, of causal rules, in training."""
    router = model.config.router
    shape = (len(batch.inputs), model.config.model.n_layer, batch.inputs.shape[1], model.config.experts.total)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(batch.inputs.device)
    training = ElectionTerms(noise, training=True)
    for mode, terms, declared in (
        ("evaluation", NO_EXPERIMENT, router.causal),
        ("training", training, router.trains_causally),
    ):
        leak, rounding = _leak(model, batch, terms)
        if declared and not leak <= rounding:
            raise DeadMechanismError(
                f"self-check: in {mode}, changing the last token moved an earlier logit by {leak:g}"
            )
        yield Check(f"{'causality' if declared else 'declared not causal'} in {mode}: earlier logits moved by", leak)


def _leak(model: LanguageModel, batch: Batch, terms: ElectionTerms) -> tuple[float, float]:
    """By how much the last token moves an earlier logit, and how much of that the rounding of other shapes explains.

    In float32: in bfloat16 that rounding would hide a leak.
    """
    changed = batch.inputs.clone()
    changed[:, -1] = (changed[:, -1] + 1) % model.emb.num_embeddings
    with computing_in("fp32", model):
        before, after = (model.logits(model.hidden(inputs, terms=terms)[0]) for inputs in (batch.inputs, changed))
    return float((before[:, :-1] - after[:, :-1]).abs().max()), 1e-5 * float(before.abs().max())


@contextmanager
def _every_path_open(model: LanguageModel) -> Iterator[None]:
    zeros: list[Tensor] = [parameter for parameter in model.parameters() if not parameter.detach().any()]
    hidden = [(parameter, parameter.detach().clone()) for parameter in (*zeros, *_repeated_experts(model))]
    learns = {parameter: parameter.requires_grad for parameter in model.parameters()}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter, _ in hidden:
            parameter += (0.02 * torch.randn(parameter.shape, generator=generator)).to(parameter.device)
    model.requires_grad_(True)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in hidden:
                parameter.copy_(value)
        for parameter, flag in learns.items():
            parameter.requires_grad_(flag)


def _repeated_experts(model: LanguageModel) -> Iterator[Tensor]:
    """Parameters, not zero, of experts equal to one before them, as weights from elsewhere leave them."""
    for block in model.blocks:
        seen: list[dict[str, Tensor]] = []
        for expert in block.mixture.experts:  # type: ignore[union-attr]
            own = {name: parameter.detach() for name, parameter in expert.named_parameters()}
            if any(_equal(own, other) for other in seen):
                yield from (parameter for parameter in expert.parameters() if parameter.detach().any())
            seen.append(own)


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
