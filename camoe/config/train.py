"""Batch shape, base rate, and how often a run evaluates and saves itself. Set by the model preset."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting


@dataclass(kw_only=True)
class TrainConfig:
    """What one optimiser step reads, and what happens between steps."""

    base_lr: float = setting(1e-3, help="learning rate before phase multipliers and schedule", above=0)
    init_from: str | None = setting(
        None, help="RWKV-7 weights (.safetensors or .pth) to begin with, each RWKV expert from the channel mix"
    )
    init_noise: float = setting(
        0.0, help="standard deviation of the noise that each RWKV expert receives on weights of train.init_from", low=0
    )
    ctx_len: int = setting(256, help="tokens T of one training sequence", low=2)
    micro_batch: int = setting(8, help="sequences per forward pass", low=1)
    grad_accum: int = setting(1, help="micro-batches per optimiser step", low=1)
    precision: str = setting(
        "fp32",
        help="bf16: matrix products in bfloat16 (autocast), everything delicate in float32; evaluation does the same",
        options=("fp32", "bf16"),
    )
    recompute: str = setting(
        "none",
        help="what the backward pass computes again to save memory: nothing, time mixing and attention, or blocks",
        options=("none", "time_mix", "block"),
    )
    self_check: bool = setting(
        True, help="prove at the start that every loss term and the gate have gradients", affects_results=False
    )
    eval_every: int = setting(
        50, help="optimiser steps between evaluations on a fixed sample of the held-out text", low=1
    )
    eval_sequences: int = setting(
        16, help="held-out sequences of those evaluations, spread over the text; the final one reads all", low=1
    )
    checkpoint_every: int = setting(50, help="optimiser steps between checkpoints", low=1, affects_results=False)
    keep_checkpoints: int = setting(2, help="newest checkpoints kept", low=2, affects_results=False)
    max_skipped_steps: int = setting(10, help="stop after this many steps skipped for a non-finite loss", low=0)
