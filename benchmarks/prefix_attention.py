"""Attention to the prefix: time and saved memory against the materialised prefix, and the expert against an FFN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.gate import require, worst_error
from benchmarks.published_layers import prefix_attention, prefix_expert
from benchmarks.result import Result, at_least, at_most
from benchmarks.sample import Sample
from benchmarks.session import Session
from camoe.model.bridge import LinearStateBridge
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix

ROW = "prefix_attention"
LARGEST_ERROR = 1e-9  # of float64 outputs and gradients
# C, P, r: the pilot and the 0.4b.
SHAPES = ((768, 32, 32), (1024, 48, 64))
HEAD_SIZE, TOKENS = 64, 512


class Parts(NamedTuple):
    """One Transformer expert, the bridge, an FFN expert of the same width, and n tokens."""

    expert: TransformerPrefix
    bridge: LinearStateBridge
    ffn: RwkvFeedForward
    h: Tensor
    previous: Tensor
    readout: Tensor


def measure(session: Session) -> Iterator[Result]:
    """Core, saved memory and whole expert, by shape."""
    for shape in session.pick(SHAPES, ((64, 3, 5),)):
        tokens = session.pick(TOKENS, 9)
        name = "{} tokens, C{} P{} r{}".format(tokens, *shape)
        gate = same_attention(make_parts(shape, 11, torch.float64))
        parts = make_parts(shape, tokens)
        session.say(f"prefix attention, {name}")
        yield from _core(session, parts, name, gate)
        yield _whole_expert(session, parts, name, gate)


def make_parts(shape: tuple[int, int, int], tokens: int, dtype: torch.dtype = torch.float32) -> Parts:
    """Alive modules and random tokens."""
    torch.manual_seed(0)
    n_embd, rows, rank = shape
    expert = TransformerPrefix(n_embd, min(HEAD_SIZE, n_embd), rows, rank).to(dtype)
    bridge = LinearStateBridge(n_embd, rows, rank).to(dtype)
    ffn = RwkvFeedForward(n_embd, 4 * n_embd, layer_id=0, n_layer=2).to(dtype)
    torch.nn.init.normal_(ffn.value.weight, std=0.02)
    h, previous, readout = (torch.randn(tokens, n_embd, dtype=dtype, requires_grad=True) for _ in range(3))
    return Parts(expert, bridge, ffn, h, previous, readout)


def our_attention(expert: TransformerPrefix, bridge: LinearStateBridge, query: Tensor, low: Tensor) -> Tensor:
    """Attended values [n,C], with the map and the factors that a forward has to make once."""
    return expert.attend(query, low, bridge.prefix_map())


def same_attention(parts: Parts) -> str:
    """Passes when both forms have the same float64 outputs and gradients."""
    query, low = _query_and_rows(parts)
    ours = _outputs_and_gradients(our_attention, parts, query, low)
    exact = _outputs_and_gradients(prefix_attention, parts, query, low)
    error, name = worst_error(ours, exact)
    return require(error, LARGEST_ERROR, f"float64 outputs and gradients (worst: {name})")


def _core(session: Session, parts: Parts, name: str, gate: str) -> Iterator[Result]:
    """From queries and rows to attended values, and back."""
    query, low = _query_and_rows(parts)
    forms = {"ours": our_attention, "materialised": prefix_attention}
    contestants = {form: partial(_outputs_and_gradients, f, parts, query, low) for form, f in forms.items()}
    seconds = session.race(contestants, 3)
    yield Result(
        row=ROW,
        what=f"attention core forward + backward against the materialised prefix, {name}",
        value=seconds["materialised"].over(seconds["ours"]),
        must=at_least(10),
        figures=seconds,
        gate=gate,
    )
    given = [query, low, *parts.expert.parameters(), *parts.bridge.parameters()]
    saved = {
        form: Sample((float(saved_bytes(partial(f, parts.expert, parts.bridge, query, low), given)),), "bytes")
        for form, f in forms.items()
    }
    yield Result(
        row=ROW,
        what=f"memory saved for the core's backward pass over the materialised prefix's, {name}",
        value=saved["ours"].over(saved["materialised"]),
        must=at_most(1 / 6),
        figures=saved,
        gate=gate,
    )


def _whole_expert(session: Session, parts: Parts, name: str, gate: str) -> Result:
    context = ExpertContext(parts.previous)

    def transformer() -> Tensor:
        low = parts.bridge(parts.h, parts.readout)
        return parts.expert(parts.h, ExpertContext(parts.previous, low, parts.bridge.prefix_map()))

    forwards: dict[str, Callable[[], Tensor]] = {
        "Transformer expert + bridge": transformer,
        "FFN expert": lambda: parts.ffn(parts.h, context),
        "published form": lambda: prefix_expert(parts.expert, parts.bridge, parts.h, parts.readout),
    }
    seconds = session.race({form: partial(_forward_backward, forward) for form, forward in forwards.items()}, 3)
    return Result(
        row=ROW,
        what=f"Transformer expert with bridge over an FFN expert, forward + backward, {name}",
        value=seconds["Transformer expert + bridge"].over(seconds["FFN expert"]),
        must=at_most(2.0),
        limit=_flops(parts.expert, parts.bridge) / parts.ffn.flops_per_token,
        figures=seconds,
        gate=gate,
    )


def saved_bytes(forward: Callable[[], Tensor], given: list[Tensor]) -> int:
    """Bytes that a forward pass keeps for its backward pass, beyond the tensors that it was given."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = forward()  # held, so that no storage is used twice
    known = {tensor.untyped_storage().data_ptr() for tensor in given}
    del out
    return sum(size for place, size in kept.items() if place not in known)


def _query_and_rows(parts: Parts) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        query, low = parts.expert.query(parts.h), parts.bridge(parts.h, parts.readout)
    return query.requires_grad_(), low.requires_grad_()


def _outputs_and_gradients(form: Callable[..., Tensor], parts: Parts, query: Tensor, low: Tensor) -> dict[str, Tensor]:
    bridge, expert = parts.bridge, parts.expert
    wanted = {"query": query, "low": low, "up": bridge.up.weight, "position": bridge.position}
    wanted |= {"gain": bridge.prefix_norm.weight, "key": expert.key.weight, "value": expert.value.weight}
    out = form(expert, bridge, query, low)
    return {"out": out, **dict(zip(wanted, torch.autograd.grad(out, list(wanted.values()), out.detach()), strict=True))}


def _forward_backward(forward: Callable[[], Tensor]) -> None:
    out = forward()
    out.backward(out.detach())


def _flops(expert: Expert, bridge: LinearStateBridge) -> int:
    return expert.flops_per_token + bridge.flops_per_token
