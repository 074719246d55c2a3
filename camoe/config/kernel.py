"""Where and how the arithmetic runs."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting


@dataclass(kw_only=True)
class KernelConfig:
    """Backend of the recurrence, form of the expert stage, how matrix products are computed, and the device."""

    wkv: str = setting(
        "auto", help="backend of the WKV-7 recurrence", options=("auto", "cuda", "native", "chunked", "reference")
    )
    dispatch: str = setting(
        "auto",
        help="expert stage: one product per expert, or grouped products during which the host never waits",
        options=("auto", "segments", "grouped"),
    )
    chunk_len: int = setting(16, help="tokens per chunk of the chunked backend", low=1, high=64)
    matmul_precision: str = setting(
        "auto",
        help="how float32 matrix products are computed (torch's switch); auto stays as accurate as float32 allows",
        options=("auto", "highest", "high", "medium"),
    )
    fast_math: bool = setting(False, help="compile the CUDA kernels with --use_fast_math: denormals become zero")
    compile: str = setting(
        "none",
        help="torch.compile for training steps: nothing, or TimeMix around the recurrence",
        options=("none", "time_mix"),
    )
    allocator: str = setting(
        "reuse",
        help="CPU memory that is freed: kept for the next step, which is faster, or given back to the system",
        options=("reuse", "system"),
        affects_results=False,
    )
    device: str = setting("auto", help="auto, cpu or cuda", options=("auto", "cpu", "cuda"))
    threads: int = setting(0, help="torch threads; 0 leaves torch's own choice", low=0, high=4096)
