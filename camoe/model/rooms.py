"""The rooms of a training step: the parts whose size, arithmetic, time and memory are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import nn
from torch.profiler import record_function

from camoe.config.experts import KINDS
from camoe.config.run import RunConfig
from camoe.model.bridge import LinearStateBridge
from camoe.model.deep_embed_attention import DeepEmbedTables

# In the order of a step; `block` is a block's norms and residuals, `dispatch` the mixture around its experts,
# each kind a room of its own.
OF_THE_MODEL = (
    *("embedding", "block", "time_mix", "attention", "deep_embed_attention", "router", "critic"),
    *("dispatch", *KINDS[:-1], "bridge", KINDS[-1], "shared_experts", "head_loss"),
)
OF_THE_STEP = ("data", "audit", "ranks", "gradient_norm", "statistics", "market", "optimizer")
ROOMS = (*OF_THE_MODEL, *OF_THE_STEP)
LABEL = "room: "

_entered: list[str] = []


class ModelParts(Protocol):
    """A language model as far as its rooms go; it knows its own cost, so it is not named here."""

    config: RunConfig
    emb: nn.Embedding
    ln0: nn.Module
    ln_out: nn.Module
    head: nn.Linear | None
    tables: DeepEmbedTables | None
    blocks: nn.ModuleList
    bridge: LinearStateBridge | None

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that is stored."""


@contextmanager
def room(name: str) -> Iterator[None]:
    """Whatever runs inside belongs to the room; a profiler sees it as a range named LABEL + name."""
    _entered.append(name)
    try:
        with record_function(LABEL + name):
            yield
    finally:
        _entered.pop()


def current_room() -> str:
    """The innermost room entered; outside of all, the empty string."""
    return _entered[-1] if _entered else ""


def room_modules(model: ModelParts) -> Iterator[tuple[str, nn.Module]]:
    """Every module that is a room or a part of one; an outer one comes before those inside it."""
    yield from _present("embedding", model.emb, model.ln0, model.tables)
    for block in model.blocks:
        mixture: nn.Module = block.mixture  # type: ignore[assignment]
        yield "block", block
        yield from _present("time_mix", block.att)
        yield from _present("attention", block.attention)
        yield from _present("deep_embed_attention", block.dea)
        yield "dispatch", mixture
        yield from _present("router", mixture.router)
        yield from _present("critic", mixture.critic)
        for expert in mixture.expert_list():  # type: ignore[operator]
            yield expert.kind, expert
        yield from _present("shared_experts", *mixture.shared)  # type: ignore[misc]
    yield from _present("bridge", model.bridge)
    yield from _present("head_loss", model.ln_out, model.head)


def _present(name: str, *parts: object) -> Iterator[tuple[str, nn.Module]]:
    return ((name, part) for part in parts if isinstance(part, nn.Module))
