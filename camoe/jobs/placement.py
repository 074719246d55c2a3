"""Where and how a job computes: device, threads, kernel backend and products, each with the reason for the choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from camoe.config import ConfigError, RunConfig
from camoe.config.kernel import KernelConfig
from camoe.kernels.matmul_precision import PrecisionChoice, ProductSize, choose_matmul_precision
from camoe.kernels.wkv7 import BackendChoice, choose_backend
from camoe.tracking.console import Choice


@dataclass(frozen=True)
class Placement:
    """device and its reason; wkv, matmul: who computes the WKV-7 recurrence and float32 products, and why."""

    device: torch.device
    device_reason: str
    threads: int
    threads_reason: str
    wkv: BackendChoice
    matmul: PrecisionChoice

    def choices(self) -> list[Choice]:
        """For the first lines of a job."""
        return [
            Choice("device", str(self.device), self.device_reason),
            Choice("threads", str(self.threads), self.threads_reason),
            Choice("WKV-7", self.wkv.name, self.wkv.reason),
            Choice("fp32 products", self.matmul.name, self.matmul.reason),
        ]


def place(config: KernelConfig, size: ProductSize) -> Placement:
    """Choose everything; apply threads and the precision of products, whose most frequent size is `size`."""
    if config.threads:
        torch.set_num_threads(config.threads)
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("kernel.device: cuda, but torch finds no CUDA device here; use kernel.device=cpu or auto")
    name = config.device if config.device != "auto" else ("cuda" if available else "cpu")
    reason = "kernel.device" if config.device != "auto" else f"torch finds {'a' if available else 'no'} CUDA device"
    threads_reason = "kernel.threads" if config.threads else "torch's own choice"
    backend = choose_backend(config.wkv, name, config.fast_math)
    matmul = choose_matmul_precision(config.matmul_precision, name, size)
    torch.set_float32_matmul_precision(matmul.name)
    return Placement(torch.device(name), reason, torch.get_num_threads(), threads_reason, backend, matmul)


def product_size(run: RunConfig, *, one_token: bool = False) -> ProductSize:
    """The most frequent product of a job that reads whole micro-batches, or that generates token by token."""
    return ProductSize(1 if one_token else run.train.micro_batch * run.train.ctx_len, run.model.n_embd)
