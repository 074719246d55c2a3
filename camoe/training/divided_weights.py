"""Weights, gradients and moments divided among ranks: torch's fully_shard (FSDP2; ZeRO stage 3, Rajbhandari et al.).

Every rank keeps a part of each parameter's rows. A block's parameters are gathered before it runs and let go
afterwards; its gradients are summed over ranks as its backward pass ends, and each rank keeps its part of the sums.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from camoe.kernels.ranks import Ranks
from camoe.kernels.row_exchange import RowExchange
from camoe.model.derived_weights import forget_all
from camoe.model.language_model import LanguageModel
from camoe.training.gradient_sum import sum_gradients
from camoe.training.held_weights import ByFile, HeldWeights


class DividedWeights(HeldWeights):
    """A part of every parameter; the model's own methods gather and let go. Blocks are units, all else is one.

    Critics are small, and the market rebuilds them from each other: every rank holds all of them.
    """

    divided = True

    def __init__(self, model: LanguageModel, exchange: RowExchange | None = None) -> None:
        super().__init__(model, exchange)
        self.together = True
        # Only in-place work on what a block returns would matter, and there is none.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
        critics = {parameter for critic in model.critics() for parameter in critic.parameters()}
        for block in model.blocks:
            fully_shard(block, mesh=mesh, ignored_params=critics)
        fully_shard(model, mesh=mesh, ignored_params=critics)
        register_fsdp_forward_method(model, "hidden")
        self._units = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for unit in self._units:
            unit.set_gradient_divide_factor(1.0)  # losses are shares of the whole step's mean already
            unit.set_force_sum_reduction_for_comms(True)  # gloo knows no other
            unit.set_reduce_scatter_unused_params(True)  # a rank's tokens may elect none of an expert's

    def rest(self) -> None:
        for unit in self._units:
            unit.reshard()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """As everywhere; only the model's `hidden` may run inside: after `forward` weights are let go."""
        self._gather_and_let_go(enabled=False)
        for unit in self._units:
            unit.unshard()
        try:
            with super().whole():
                yield
        finally:
            self._gather_and_let_go(enabled=True)
            self.rest()

    def _gather_and_let_go(self, *, enabled: bool) -> None:
        for unit in self._units:
            unit.set_reshard_after_forward(enabled and unit is not self._model, recurse=False)
            unit.set_reshard_after_backward(enabled, recurse=False)
            unit.set_requires_gradient_sync(enabled, recurse=False)

    def sum_gradients(self, model: nn.Module, ranks: Ranks) -> None:
        """Those of divided parameters were summed as they were made."""
        sum_gradients((parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)), ranks)

    def clip(self, parameters: list[nn.Parameter], limit: float) -> Tensor:
        norm = super().clip(parameters, limit)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def part(self, value: Tensor) -> Tensor:
        return value.to_local() if isinstance(value, DTensor) else value

    def gathered(self, part: Tensor, like: Tensor) -> Tensor:
        if not isinstance(like, DTensor):
            return part
        shape, stride = like.shape, like.stride()
        return DTensor.from_local(part, like.device_mesh, like.placements, shape=shape, stride=stride).full_tensor()

    def part_of(self, whole: Tensor, like: Tensor) -> Tensor:
        return self.part(_divided(whole, like)) if isinstance(like, DTensor) else whole

    def beside(self, whole: Tensor, parameter: Tensor) -> Tensor:
        if not isinstance(parameter, DTensor) or whole.shape != parameter.shape:
            return super().beside(whole, parameter)
        return _divided(whole, parameter).to(parameter.device, copy=True)

    def sorted_out(self, tensors: ByFile) -> tuple[ByFile, ByFile]:
        divided = {
            file: {name: value for name, value in content.items() if isinstance(value, DTensor)}
            for file, content in tensors.items()
        }
        whole = {
            file: {name: value for name, value in content.items() if name not in divided[file]}
            for file, content in tensors.items()
        }
        return whole, divided

    def load(self, model: nn.Module, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        self.rest()
        parameters = dict(model.named_parameters())
        parts = {
            name: self.beside(value, parameters[name]) if name in parameters else value
            for name, value in tensors.items()
        }
        model.load_state_dict({**parts, **values})

    @contextmanager
    def replaced(self, model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
        self.rest()
        parameters = dict(model.named_parameters())
        own = {name: self.part(parameter.detach()).clone() for name, parameter in parameters.items()}
        try:
            self._fill(parameters, {name: self.part(weights[name]) for name in parameters})
            yield
        finally:
            self.rest()
            self._fill(parameters, own)

    @torch.no_grad()
    def _fill(self, parameters: Mapping[str, nn.Parameter], parts: Mapping[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            self.part(parameter.detach()).copy_(parts[name])
        forget_all()


def _divided(whole: Tensor, like: DTensor) -> DTensor:
    """A tensor that every rank has, held as `like` is: without a source each takes its rows from its own."""
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
