"""TimeMix fused by torch.compile, all but the recurrence, which is a kernel of its own and stays opaque."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from camoe.model.language_model import LanguageModel
from camoe.model.time_mix import TimeMix

METHODS = ("project", "finish")
R = TypeVar("R")


def compile_time_mix(model: LanguageModel) -> None:
    """Compile both sides of the recurrence in every layer that has one, at the first training step that passes through.

    Only where gradients are wanted: evaluation and generation stay as they are, in shapes that need no compilation.
    """
    for layer in _layers(model):
        layer.fused = False
        for name in METHODS:
            setattr(layer, name, _compiled_for_training(getattr(layer, name)))


@contextmanager
def uncompiled(model: LanguageModel) -> Iterator[None]:
    """Inside, nothing of the model is compiled."""
    layers = _layers(model)
    compiled = [{name: vars(layer).pop(name) for name in METHODS if name in vars(layer)} for layer in layers]
    try:
        yield
    finally:
        for layer, methods in zip(layers, compiled, strict=True):
            vars(layer).update(methods)


def _layers(model: LanguageModel) -> list[TimeMix]:
    return [block.att for block in model.blocks if block.att is not None]  # type: ignore[misc]


def _compiled_for_training(method: Callable[..., R]) -> Callable[..., R]:
    compiled = torch.compile(method)

    @functools.wraps(method)
    def chosen(*inputs: object) -> R:
        return (compiled if torch.is_grad_enabled() else method)(*inputs)

    return chosen
