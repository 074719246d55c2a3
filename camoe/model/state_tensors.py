"""A recurrent state as named tensors, each with the batch first: to be stored, and to be joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from camoe.model.key_value_cache import KeyValueCache
from camoe.model.recurrent_state import DeepEmbedCache, LayerState, RecurrentState

SHIFTS = ("channel_shift", "time_shift", "wkv")
OF_ATTENTION = ("keys", "values")
OF_DEEP_EMBED = ("key_latents", "value_latents", "ids", "query")


def state_tensors(state: RecurrentState) -> dict[str, Tensor]:
    """Every tensor there is, by its place: `layers.3.attention.keys`."""
    found = {"tokens_read": state.tokens_read}
    for index, layer in enumerate(state.layers):
        parts = {"": (layer, SHIFTS), "attention.": (layer.attention, OF_ATTENTION), "dea.": (layer.dea, OF_DEEP_EMBED)}
        for prefix, (part, names) in parts.items():
            values = {name: getattr(part, name) for name in names} if part is not None else {}
            found |= {f"layers.{index}.{prefix}{name}": value for name, value in values.items() if value is not None}
    return found


def state_of(tensors: Mapping[str, Tensor]) -> RecurrentState:
    """The state whose tensors these are; KeyError where one is missing."""
    n_layer = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
    return RecurrentState([_layer(tensors, f"layers.{index}.") for index in range(n_layer)], tensors["tokens_read"])


def _layer(tensors: Mapping[str, Tensor], at: str) -> LayerState:
    cached = f"{at}attention.{OF_ATTENTION[0]}" in tensors
    embedded = f"{at}dea.{OF_DEEP_EMBED[0]}" in tensors
    return LayerState(
        tensors[f"{at}channel_shift"],
        tensors.get(f"{at}time_shift"),
        tensors.get(f"{at}wkv"),
        KeyValueCache(tensors[f"{at}attention.keys"], tensors[f"{at}attention.values"]) if cached else None,
        DeepEmbedCache(*(tensors[f"{at}dea.{name}"] for name in OF_DEEP_EMBED)) if embedded else None,
    )


def joined(states: Sequence[RecurrentState]) -> RecurrentState:
    """The states of several batches as one; caches of attention must hold equally many tokens."""
    parts = [state_tensors(state) for state in states]
    return state_of({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
