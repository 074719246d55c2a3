"""Where and how a job computes: device, threads, kernel backend and products, each with the reason for the choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from camoe.config import ConfigError, RunConfig
from camoe.config.experts import WITH_HIDDEN
from camoe.config.kernel import KernelConfig
from camoe.kernels.allocator import choose_allocator
from camoe.kernels.dispatch_choice import choose_dispatch
from camoe.kernels.matmul_precision import PrecisionChoice, ProductSize, choose_matmul_precision
from camoe.kernels.wkv7 import BackendChoice, choose_backend
from camoe.model.as_built import as_built
from camoe.model.compilation import compile_time_mix
from camoe.model.language_model import LanguageModel
from camoe.tracking.console import Choice


@dataclass(frozen=True)
class Placement:
    """device and its reason; wkv, dispatch, matmul: who computes recurrence, experts and float32 products, and why.

    allocator: what becomes of freed memory.
    """

    device: torch.device
    device_reason: str
    threads: int
    threads_reason: str
    wkv: BackendChoice
    dispatch: BackendChoice
    matmul: PrecisionChoice
    allocator: BackendChoice

    def choices(self) -> list[Choice]:
        """For the first lines of a job."""
        return [
            Choice("device", str(self.device), self.device_reason),
            Choice("threads", str(self.threads), self.threads_reason),
            Choice("WKV-7", self.wkv.name, self.wkv.reason),
            Choice("experts run", self.dispatch.name, self.dispatch.reason),
            Choice("fp32 products", self.matmul.name, self.matmul.reason),
            Choice("allocator", self.allocator.name, self.allocator.reason),
        ]

    def apply(self, model: LanguageModel, kernel: KernelConfig) -> None:
        """Let the model compute by these choices; it lies on the device already."""
        model.use_wkv_backend(self.wkv.name, kernel.chunk_len, kernel.fast_math)
        model.use_dispatch(self.dispatch.name)


def place(config: KernelConfig, run: RunConfig, *, one_token: bool = False) -> Placement:
    """Choose everything for a job that reads whole micro-batches or, for `one_token`, goes token by token.

    Applies threads, the precision of products and the allocator.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("kernel.device: cuda, but torch finds no CUDA device here; use kernel.device=cpu or auto")
    name = config.device if config.device != "auto" else ("cuda" if available else "cpu")
    reason = "kernel.device" if config.device != "auto" else f"torch finds {'a' if available else 'no'} CUDA device"
    threads_reason = "kernel.threads" if config.threads else "torch's own choice"
    backend = choose_backend(config.wkv, name, config.fast_math)
    dispatch = choose_dispatch(config.dispatch, name, run.train.precision, row_widths(run))
    matmul = choose_matmul_precision(config.matmul_precision, name, ProductSize.of_run(run, one_token=one_token))
    torch.set_float32_matmul_precision(matmul.name)
    allocator = choose_allocator(config.allocator)
    return Placement(
        torch.device(name), reason, torch.get_num_threads(), threads_reason, backend, dispatch, matmul, allocator
    )


def model_to_train(config: RunConfig, placement: Placement) -> LanguageModel:
    """A fresh model where it will be trained, compiled where kernel.compile asks for it."""
    model = LanguageModel(config).to(placement.device)
    placement.apply(model, config.kernel)
    if config.kernel.compile == "time_mix":
        compile_time_mix(model)
    return model


def row_widths(run: RunConfig) -> tuple[int, ...]:
    """Widths of the rows that grouped products read and write."""
    model, experts = run.model, as_built(run, LanguageModel).experts
    hidden = [experts.hidden_width(kind, model.n_embd) for kind in WITH_HIDDEN if experts.has(kind)]
    widths = (model.n_embd, *hidden)
    return (*widths, model.prefix_len * model.low_rank) if experts.transformer_prefix else widths
