"""How long a device computes for one micro-batch, and for one update: every operation at the rate that bounds it.

A product takes the longer of its FLOPs at the rate of products and its bytes at the rate of passes; any other
operation its bytes (roofline; Williams et al., 2009). The native recurrence is counted by formula.
"""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config import RunConfig
from camoe.kernels.matmul_precision import ProductSize, choose_matmul_precision
from camoe.profiling.device_kinds import DeviceKind
from camoe.profiling.operation_counter import Operations
from camoe.profiling.simulated_step import SimulatedStep

# Multiply-adds, or lone multiplications, of WKV-7 per state entry and token. Forward: read sa 1, decay and write twice
# 3, answer 1. Backward: the states again 3, their gradient 1 + 2, and seven reads of both, for r, k, b, v, sa, w and a.
FORWARD_SLOTS, BACKWARD_SLOTS = 5, 13

# Bytes read and written per parameter. The norm reads the gradient, clipping scales it; fused AdamW reads weight,
# gradient and moments and writes weight and moments.
CLIPPING_BYTES = 4 + 8
UPDATE_BYTES = {"adamw": 28, "adamw8bit": 16, "muon": 28}


@dataclass(frozen=True)
class Seconds:
    """Of one device: matrix products, all other operations, the recurrence, and the host that starts operations."""

    products: float
    passes: float
    recurrence: float
    host: float
    ahead: bool

    @property
    def total(self) -> float:
        """Where the host runs ahead it costs time only when it is the slower one."""
        computing = self.products + self.passes + self.recurrence
        return max(computing, self.host) if self.ahead else computing + self.host


@dataclass(frozen=True)
class MicroBatchWork:
    """Forward and backward pass of one micro-batch. recurrence: multiply-adds of it that operations do not show.

    highest: whether a CPU computes its fp32 products with matmul precision `highest`.
    """

    operations: Operations
    recurrence: float
    highest: bool = False

    @classmethod
    def of(cls, run: SimulatedStep, config: RunConfig) -> MicroBatchWork:
        """From a simulation of `config`."""
        slots = FORWARD_SLOTS * (1 + (config.train.recompute != "none")) + BACKWARD_SLOTS
        model, tokens = config.model, config.train.micro_batch * config.train.ctx_len
        entries = tokens * model.n_embd * model.head_size * len(model.rwkv_layers)
        chosen = choose_matmul_precision(config.kernel.matmul_precision, "cpu", ProductSize.of_run(config))
        return cls(run.operations(), 0.0 if run.recurrence_seen else slots * entries, chosen.name == "highest")

    @property
    def flops(self) -> int:
        """Of all matrix products."""
        return sum(operation.flops * count for operation, count in self.operations.items())

    def seconds(self, device: DeviceKind) -> Seconds:
        """On one device."""
        fp32 = device.fp32_highest if self.highest and device.fp32_highest else device.fp32
        products = passes = 0.0
        for operation, count in self.operations.items():
            through_memory = operation.n_bytes / device.passes.achieved
            if operation.flops:
                rate = (device.bf16 if operation.half else fp32).achieved
                products += count * max(operation.flops / rate, through_memory)
            else:
                passes += count * through_memory
        recurrence = self.recurrence / device.recurrence.achieved
        host = self.operations.total() / device.operation.achieved
        return Seconds(products, passes, recurrence, host, device.ahead)


def update_seconds(config: RunConfig, parameters: float, device: DeviceKind) -> float:
    """Gradient norm, clipping and optimiser for so many parameters; products of Muon left out."""
    return parameters * (CLIPPING_BYTES + UPDATE_BYTES[config.optimizer.kind]) / device.passes.achieved
