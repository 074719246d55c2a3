"""Where a job computes: device, threads and kernel backend, each with the reason for the choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from camoe.config import ConfigError
from camoe.config.kernel import KernelConfig
from camoe.kernels.wkv7 import BackendChoice, choose_backend


@dataclass(frozen=True)
class Placement:
    """device and its reason; wkv: the backend of the WKV-7 recurrence and its reason."""

    device: torch.device
    device_reason: str
    threads: int
    wkv: BackendChoice

    def choices(self) -> list[tuple[str, str, str]]:
        """(what, value, why) for the first lines of a job."""
        return [
            ("device", str(self.device), self.device_reason),
            ("threads", str(self.threads), "kernel.threads" if self.threads else "torch's own choice"),
            ("WKV-7", self.wkv.name, self.wkv.reason),
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
    return Placement(torch.device(name), reason, torch.get_num_threads(), choose_backend(config.wkv, name))
