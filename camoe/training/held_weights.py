"""What a rank holds of the weights, their gradients and the optimiser's moments: all of them, or a part (a subclass).

Everything that training does with them beside the forward and backward pass itself goes through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from camoe.kernels.ranks import Ranks
from camoe.kernels.row_exchange import RowExchange
from camoe.model.language_model import LanguageModel
from camoe.training.gradient_sum import sum_gradients

ByFile = Mapping[str, Mapping[str, Tensor]]
"""Tensors by the file of a checkpoint and by name."""


class HeldWeights:
    """Every rank holds all of them, and gradients are added up once per step.

    together: whether all ranks have to run forward passes together, because they communicate in them.
    """

    divided = False
    """Whether a rank holds a part of every tensor alone."""

    def __init__(self, model: LanguageModel | None = None, exchange: RowExchange | None = None) -> None:
        """exchange: among the ranks that run each other's experts; None: each runs all of its own."""
        self.together = exchange is not None
        self._model, self._exchange = model, exchange
        self._use(exchange)

    def _use(self, exchange: RowExchange | None) -> None:
        if self._model is not None:
            self._model.use_exchange(exchange)

    def rest(self) -> None:
        """After forward and backward passes: the model's parameters are those that the optimiser moves."""

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, every rank holds all weights and runs by itself; what is done to divided weights there is lost."""
        self._use(None)
        try:
            yield
        finally:
            self._use(self._exchange)

    def sum_gradients(self, model: nn.Module, ranks: Ranks) -> None:
        """Every gradient becomes its sum over ranks."""
        sum_gradients(model.parameters(), ranks)

    def clip(self, parameters: list[nn.Parameter], limit: float) -> Tensor:
        """Scale gradients so that their common norm is at most `limit`; the norm [] before."""
        return nn.utils.clip_grad_norm_(parameters, limit)

    def part(self, value: Tensor) -> Tensor:
        """The numbers of a weight or its moment that lie here, in their own memory."""
        return value

    def gathered(self, part: Tensor, like: Tensor) -> Tensor:
        """All numbers of a tensor that is held as `like` is, from its part here; all ranks ask together."""
        del like
        return part

    def part_of(self, whole: Tensor, like: Tensor) -> Tensor:
        """What lies here of a tensor that is held as `like` is."""
        del like
        return whole

    def beside(self, whole: Tensor, parameter: Tensor) -> Tensor:
        """A copy of what is saved of a parameter, held as the parameter is."""
        return whole.to(parameter.device, copy=True)

    def sorted_out(self, tensors: ByFile) -> tuple[ByFile, ByFile]:
        """Parted into tensors that every rank has and those that it has a part of."""
        return tensors, {}

    def load(self, model: nn.Module, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Fill the model from its state dict, parted into whole tensors and what is none."""
        model.load_state_dict({**tensors, **values})

    @contextmanager
    def replaced(self, model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """The model with other weights inside; afterwards it has its own again, the same bits in the same memory."""
        parameters = dict(model.named_parameters())
        own = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = weights[name].to(parameter.dtype)
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = own[name]


WHOLE = HeldWeights()
