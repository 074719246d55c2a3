"""What a checkpoint holds: sizes and norms by parameter group and room, the market, and whether it fits its model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.model.rooms import room_modules
from camoe.training.checkpoint import Snapshot
from camoe.training.phases import PhaseSchedule

MARKET = "market.state."
PER_LAYER = ("alpha", "purse", "debt", "bailout_count")


@dataclass(frozen=True)
class Holding:
    """Tensors that belong together. norm: Euclidean, over the finite numbers; non_finite: how many are not."""

    tensors: int
    numbers: int
    bytes: int
    norm: float
    non_finite: int

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> Holding:
        """Sums over the tensors, in float64."""
        held = list(tensors)
        finite = [tensor.double()[tensor.isfinite()] for tensor in held]
        return cls(
            tensors=len(held),
            numbers=sum(tensor.numel() for tensor in held),
            bytes=sum(tensor.nbytes for tensor in held),
            norm=float(torch.stack([part.norm() for part in finite]).norm()) if finite else 0.0,
            non_finite=sum(tensor.numel() - part.numel() for tensor, part in zip(held, finite, strict=True)),
        )


def checkpoint_report(snapshot: Snapshot, weights: Mapping[str, Tensor], model: LanguageModel) -> dict[str, Any]:
    """Everything as JSON can hold it. `weights`: the model's tensors; `model` may lie on the meta device."""
    progress = snapshot.values["progress"]
    return {
        **progress,
        "phase": PhaseSchedule(model.config.phase).at(max(0, progress["step"] - 1)).name,
        "total_steps": PhaseSchedule(model.config.phase).total_steps,
        "files": {name: sum(t.nbytes for t in tensors.values()) for name, tensors in snapshot.tensors.items()},
        "groups": _holdings(weights, _names_by_group(model)),
        "rooms": _holdings(weights, names_by_room(model)),
        "market": market_report(weights),
        "vocabulary": vocabulary(weights, model),
        "misfits": misfits(weights, model),
    }


def market_report(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Shares of each layer's capital [L][E] and, where the economy has them, alpha, purse, debt, bailouts, each [L]."""
    state = {name.removeprefix(MARKET): value for name, value in weights.items() if name.startswith(MARKET)}
    if "capital" not in state:
        return {}
    capital = state["capital"].double()
    shares = capital / capital.sum(-1, keepdim=True)
    return {
        "capital_share": shares.tolist(),
        "money": capital.sum(-1).tolist(),
        **{name: state[name].tolist() for name in PER_LAYER if name in state},
    }


def vocabulary(weights: Mapping[str, Tensor], model: LanguageModel) -> dict[str, Any]:
    """Rows of embedding and head beside tokenizer.vocab_size; `agrees` when all are the same."""
    wanted = model.config.tokenizer.vocab_size
    rows = {name: len(weights[f"{name}.weight"]) for name in ("emb", "head") if f"{name}.weight" in weights}
    return {"tokenizer.vocab_size": wanted, **rows, "agrees": set(rows.values()) == {wanted}}


def misfits(weights: Mapping[str, Tensor], model: LanguageModel) -> list[str]:
    """One line for each tensor that the model lacks, that it has beside the checkpoint's, or of another shape."""
    expected = {name: value.shape for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    given = {name: value.shape for name, value in weights.items()}
    lines = [f"{name}: not in the checkpoint" for name in expected.keys() - given.keys()]
    lines += [f"{name}: not in the model" for name in given.keys() - expected.keys()]
    lines += [
        f"{name}: {list(given[name])} in the checkpoint, {list(expected[name])} in the model"
        for name in expected.keys() & given.keys()
        if expected[name] != given[name]
    ]
    return sorted(lines)


def names_by_room(model: LanguageModel) -> dict[str, list[str]]:
    """Parameters by the innermost room that they belong to, in the order of the rooms."""
    innermost = {parameter: room for room, part in room_modules(model) for parameter in part.parameters()}
    names: dict[str, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        names[innermost[parameter]].append(name)
    return dict(names)


def _names_by_group(model: LanguageModel) -> dict[str, list[str]]:
    return {group: list(members) for group, members in parameter_groups(model).items() if members}


def _holdings(weights: Mapping[str, Tensor], names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    return {
        where: asdict(Holding.of(weights[name] for name in members if name in weights))
        for where, members in names.items()
    }
