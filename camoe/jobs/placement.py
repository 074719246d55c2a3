"""Where a job computes: device, threads and kernel backend, each with the reason for the choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from camoe.config import ConfigError
from camoe.config.kernel import KernelConfig
from camoe.kernels.wkv7 import BackendChoice, choose_backend
from camoe.tracking.console import Choice


@dataclass(frozen=True)
class Placement:
    """device and its reason; wkv: the backend of the WKV-7 recurrence and its reason."""

    device: torch.device
    device_reason: str
    threads: int
    threads_reason: str
    wkv: BackendChoice

    def choices(self) -> list[Choice]:
        """For the first lines of a job."""
        return [
            Choice("device", str(self.device), self.device_reason),
            Choice("threads", str(self.threads), self.threads_reason),
            Choice("WKV-7", self.wkv.name, self.wkv.reason),
        ]


def place(config: KernelConfig) -> Placement:
    """Choose and apply device and threads."""
    if config.threads:
        torch.set_num_threads(config.threads)
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("kernel.device: cuda, but torch finds no CUDA device here; use kernel.device=cpu or auto")
    name = config.device if config.device != "auto" else ("cuda" if available else "cpu")
    reason = "kernel.device" if config.device != "auto" else f"torch finds {'a' if available else 'no'} CUDA device"
    threads_reason = "kernel.threads" if config.threads else "torch's own choice"
    backend = choose_backend(config.wkv, name)
    return Placement(torch.device(name), reason, torch.get_num_threads(), threads_reason, backend)
