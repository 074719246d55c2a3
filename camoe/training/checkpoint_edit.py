"""Checkpoints made from checkpoints: slim, with a market or critics as at the start, or averaged. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.model.language_model import LanguageModel
from camoe.training.checkpoint import Snapshot

OF_CRITICS = (
    *("purse", "debt", "bailout_count", "accuracy", "critic_loss_ema", "critic_loss_seen"),
    *("difficulty", "difficulty_square", "target", "residual"),
)
"""What the states of all economies remember of their critics."""


def slim(snapshot: Snapshot, weights: Mapping[str, Tensor]) -> Snapshot:
    """Model and market alone: enough to evaluate and to generate, not to go on training."""
    kept = {name: snapshot.values[name] for name in ("progress", "training_s", "model", "config")}
    return Snapshot({"model": weights, "averaged": {}}, kept)


def reset(snapshot: Snapshot, fresh: LanguageModel, what: str) -> Snapshot:
    """The same run with its `market`, its `critic` or `both` as in `fresh`, a new model of its configuration.

    The market: capital, alpha and everything remembered but its critics' books. The critic: weights, averages, purses,
    debts, records and the optimiser's moments. ConfigError where the economy has none.
    """
    initial = {name: value for name, value in fresh.state_dict().items() if belongs(name, what)}
    if not any(isinstance(value, Tensor) for value in initial.values()):
        raise ConfigError(f"job.checkpoint.reset: {what}, but economy.kind {fresh.config.economy.kind} has none")
    tensors = {name: dict(content) for name, content in snapshot.tensors.items()}
    tensors["model"] |= {name: value for name, value in initial.items() if isinstance(value, Tensor)}
    averaged = {name: initial[name].float() for name in tensors["averaged"] if name in initial}
    tensors["averaged"] |= averaged
    moments = tensors["optimizer"]
    tensors["optimizer"] = {name: value for name, value in moments.items() if name.partition("|")[0] not in initial}
    return Snapshot(tensors, snapshot.values)


def belongs(name: str, what: str) -> bool:
    """Whether an entry of a model's state is the `market`'s, the `critic`'s, or of `both`."""
    if name.startswith("market.state."):
        return what == "both" or (name.rpartition(".")[2] in OF_CRITICS) == (what == "critic")
    return ".mixture.critic." in name and what != "market"


def average(weights: Sequence[Mapping[str, Tensor]], parameters: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Means over several models of all `parameters`, in float64; every other tensor is that of the first.

    names: what the models are called. ConfigError names the first tensor whose shape they do not share.
    """
    first = weights[0]
    for other, name in zip(weights[1:], names[1:], strict=True):
        refuse_other_shapes(first, other, (names[0], name))
    mean = {
        name: torch.stack([one[name].double() for one in weights]).mean(0).to(first[name].dtype) for name in parameters
    }
    return {**first, **mean}


def refuse_other_shapes(first: Mapping[str, Tensor], other: Mapping[str, Tensor], names: tuple[str, str]) -> None:
    """ConfigError that names the first tensor which two models do not both have in one shape."""
    for name in sorted({*first, *other}):
        shapes = [list(one[name].shape) if name in one else "nothing" for one in (first, other)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"job.checkpoint.others: {names[1]} is of another architecture than {names[0]}; "
                f"{name}: {shapes[1]} against {shapes[0]}"
            )
