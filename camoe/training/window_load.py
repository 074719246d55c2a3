"""How often each expert serves in a whole optimiser step, counted before any of its gradients is formed."""

from __future__ import annotations

import torch
from torch import Tensor

from camoe.config.router import RouterConfig
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.balance_terms import layer_assignments
from camoe.training.micro_batch import MicroBatch


def counts_ahead(router: RouterConfig, micro_batches: int) -> bool:
    """Whether load is counted before a step of which each rank runs `micro_batches`."""
    return micro_batches > 1 and router.learns and router.losses.counts_globally


@torch.no_grad()
def load_of_window(model: LanguageModel, batches: list[MicroBatch], ranks: Ranks) -> Tensor | None:
    """[L,E] assignments of all ranks' micro-batches; None where no loss asks, or a forward pass alone can tell.

    A balance loss of scope global_batch is E sum_e f_e P_e with f and P of the whole step. Its gradient through a
    micro-batch's P needs the f of those that come later. Elections depend on weights, tokens and drawn noise alone, so
    a forward pass without gradients of every micro-batch finds the very f: nothing is approximated, and the price is
    one forward pass more per micro-batch (none where each rank runs one). arXiv 2501.11873 uses the f counted so far.
    """
    if not counts_ahead(model.config.router, len(batches)):
        return None
    (load,) = ranks.sum([torch.stack([_load(model, micro) for micro in batches]).sum(0)])
    return load


def _load(model: LanguageModel, micro: MicroBatch) -> Tensor:
    trace = RoutingTrace()
    model.hidden(micro.batch.inputs, terms=micro.terms, trace=trace)
    return layer_assignments(trace.decision(), micro.batch.mask)
