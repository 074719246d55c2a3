"""Which class every tensor of a model belongs to, and how its numbers will be stored."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.config.export import FLOATS, INTEGERS, ExportFormat
from camoe.inference.export.stored_tensor import StoredTensor
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups

CLASS_OF_GROUP = {
    "embedding_head": "embedding_head",
    "rwkv_backbone": "backbone",
    "bridge": "backbone",
    "rwkv_experts": "experts",
    "transformer_experts": "experts",
    "router_gate": "router",
    "critic": "router",
}
CLASSES = ("embedding_head", "backbone", "experts", "router", "vectors", "state")


def storage_plan(model: LanguageModel, tensors: Mapping[str, Tensor], formats: ExportFormat) -> list[StoredTensor]:
    """How each of the model's `tensors` is stored; what is no parameter (capital, ...) keeps every bit.

    ConfigError for weights that are not finite.
    """
    groups = {name: group for group, members in parameter_groups(model).items() for name in members}
    return [_stored(name, tensor, groups.get(name), formats) for name, tensor in tensors.items()]


def _stored(name: str, tensor: Tensor, group: str | None, formats: ExportFormat) -> StoredTensor:
    shape = tuple(tensor.shape)
    if group is None:
        return StoredTensor(name, "state", shape, str(tensor.dtype).removeprefix("torch."))
    if not tensor.isfinite().all():
        raise ConfigError(f"job.run: {name} holds values that are not finite; there is nothing to export")
    is_matrix = sum(size > 1 for size in shape) >= 2
    room = CLASS_OF_GROUP[group] if is_matrix else "vectors"
    chosen = getattr(formats, room)
    if chosen in INTEGERS:
        return StoredTensor(name, room, shape, chosen, INTEGERS[chosen])
    return StoredTensor(name, room, shape, FLOATS[chosen] if _fits(tensor, FLOATS[chosen]) else "float32")


def _fits(tensor: Tensor, dtype: str) -> bool:
    """Whether the largest number keeps ten bits: one outside of fp16's range overflows or vanishes."""
    largest = tensor.abs().max().float()
    return bool((largest.to(getattr(torch, dtype)).float() - largest).abs() <= largest * 2**-10)
