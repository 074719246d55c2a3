"""Labels on a model while it is being profiled; without them it runs as if there were no profiler."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from camoe.model.language_model import LanguageModel
from camoe.model.rooms import room, room_modules


@contextmanager
def labelled(model: LanguageModel) -> Iterator[None]:
    """Inside, every public method of every part of the model runs in its room."""
    with ExitStack() as undo:
        for name, module, method in _methods(model):
            undo.callback(_put_back, module, method, vars(module).get(method))
            vars(module)[method] = _in_room(name, getattr(module, method))
        yield


def _methods(model: LanguageModel) -> Iterator[tuple[str, nn.Module, str]]:
    """(room, module, name) of every method that gets a label; the model's own forward pass belongs to no part."""
    yield "block", model, "hidden"
    yield "head_loss", model, "logits"
    for name, module in room_modules(model):
        yield from ((name, module, method) for method in _public_methods(type(module)))


def _put_back(module: nn.Module, method: str, own: Callable[..., Any] | None) -> None:
    """`own`: the method that the module itself had, a compiled one; None where it has its class's."""
    vars(module).pop(method)
    if own is not None:
        vars(module)[method] = own


def _in_room(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with room(name):
            return method(*args, **kwargs)

    return inside


def _public_methods(kind: type[nn.Module]) -> set[str]:
    """Names of the methods that a module's own classes define."""
    own = kind.__mro__[: kind.__mro__.index(nn.Module)]
    return {name for part in own for name, value in vars(part).items() if inspect.isfunction(value) and name[0] != "_"}
