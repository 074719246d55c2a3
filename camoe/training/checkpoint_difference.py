"""Where two checkpoints differ: tensors, rooms and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """largest: max |b - a|. relative: ||b - a|| / max(||a||, ||b||), 0 to 2."""

    largest: float
    relative: float

    @classmethod
    def between(cls, ours: Sequence[Tensor], others: Sequence[Tensor]) -> Difference:
        """Over all numbers of the tensors, in float64."""
        a, b = (torch.cat([tensor.double().flatten() for tensor in side]) for side in (ours, others))
        change, size = float((b - a).norm()), max(float(a.norm()), float(b.norm()))
        return cls(float((b - a).abs().max()), change / size) if change else cls(0.0, 0.0)


def tensor_differences(ours: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> dict[str, Any]:
    """By name, the relatively largest first: Difference as a dictionary, or both shapes where these differ."""
    shared = [name for name in ours if name in others and ours[name].shape == others[name].shape]
    found = {name: asdict(Difference.between([ours[name]], [others[name]])) for name in shared}
    ranked = dict(sorted(found.items(), key=lambda item: item[1]["relative"], reverse=True))
    apart = {
        name: {"shapes": [list(side[name].shape) if name in side else None for side in (ours, others)]}
        for name in sorted({*ours, *others} - {*shared})
    }
    return {**apart, **ranked}


def room_differences(
    ours: Mapping[str, Tensor], others: Mapping[str, Tensor], rooms: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """The same over all tensors of a room that both have in one shape."""
    found = {}
    for room, names in rooms.items():
        shared = [name for name in names if name in others and ours[name].shape == others[name].shape]
        if shared:
            found[room] = asdict(Difference.between([ours[name] for name in shared], [others[name] for name in shared]))
    return found


def setting_differences(ours: Any, others: Any) -> dict[str, list[Any]]:
    """Dotted names of all settings that differ, with both values; a setting that one lacks is None there."""
    a, b = (dict(_leaves(side, "")) for side in (ours, others))
    return {name: [a.get(name), b.get(name)] for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """From nested dictionaries, as `config.yaml` holds them."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
