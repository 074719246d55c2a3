"""The model, text and step that whole-step rows measure, from the flags of the command line."""

from __future__ import annotations

import functools
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from camoe.config.economy import V21Config
from camoe.config.run import RunConfig
from camoe.kernels.matmul_precision import ProductSize, choose_matmul_precision, matmul_precision
from camoe.kernels.wkv7 import choose_backend
from camoe.model.compilation import compile_time_mix
from camoe.model.language_model import LanguageModel
from camoe.training.objectives import Batch

DTYPES = ("fp32", "bf16")
EXTRAS = {"recompute": ("none", "time_mix", "block"), "compile": ("none", "time_mix")}


@dataclass(frozen=True, kw_only=True)
class StepShape:
    """What a step computes. experts: e.g. 3R1T. dtype: of the matrix products; parameters stay float32.

    recompute, compile: as train.recompute and kernel.compile; the published form knows neither.
    """

    n_embd: int = 256
    n_layer: int = 6
    experts: str = "3R1T"
    prefix_len: int = 32
    low_rank: int = 32
    vocab: int = 4096
    ctx: int = 256
    batch: int = 8
    dtype: str = "fp32"
    recompute: str = "none"
    compile: str = "none"

    @property
    def tokens(self) -> int:
        """Tokens of one step."""
        return self.batch * self.ctx

    def __str__(self) -> str:
        size = f"C{self.n_embd} L{self.n_layer} {self.experts} P{self.prefix_len} r{self.low_rank} V{self.vocab}"
        extras = [f"{name} {value}" for name in EXTRAS if (value := getattr(self, name)) != "none"]
        return ", ".join([size, f"{self.batch} x {self.ctx}", self.dtype, *extras])

    def config(self) -> RunConfig:
        """The run that trains this shape under the published economy."""
        mix = re.fullmatch(r"(\d+)R(\d+)T", self.experts, re.IGNORECASE)
        if mix is None:
            raise SystemExit(f"--experts: '{self.experts}' is not allowed; must be like 3R1T")
        head_size = next(size for size in (64, 32, 16) if self.n_embd % size == 0)
        groups: dict[str, Any] = {
            "model": {
                "n_embd": self.n_embd,
                "n_layer": self.n_layer,
                "head_size": head_size,
                "prefix_len": self.prefix_len,
                "low_rank": self.low_rank,
            },
            "experts": {"rwkv_ffn": int(mix[1]), "transformer_prefix": int(mix[2])},
            "tokenizer": {"vocab_size": self.vocab},
            "phase": {"schedule": {"normal": {"steps": 1}}},
            "train": {
                "ctx_len": self.ctx,
                "micro_batch": self.batch,
                "base_lr": 1e-6,
                "precision": self.dtype,
                "recompute": self.recompute,
            },
            "kernel": {"compile": self.compile},
            "tracking": {"mlflow": False},
        }
        base = OmegaConf.merge(OmegaConf.structured(RunConfig), {"economy": OmegaConf.structured(V21Config)})
        config = OmegaConf.to_object(OmegaConf.merge(base, groups))
        assert isinstance(config, RunConfig)
        return config

    def batches(self, seed: int = 0, device: torch.device | None = None) -> tuple[Batch, Tensor]:
        """Random tokens, and the noise of the elections [B,L,T,E]."""
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(1, self.vocab, (self.batch, self.ctx + 1), generator=generator)
        config = self.config()
        shape = (self.batch, self.n_layer, self.ctx, config.experts.total)
        noise = torch.randn(shape, generator=generator).to(device)
        tokens = tokens.to(device)
        return Batch(tokens[:, :-1], tokens[:, 1:]), noise

    def precision(self, device_type: str = "cpu") -> AbstractContextManager[None]:
        """Inside, float32 products are computed as a run of this shape computes them."""
        return products_of_a_run(self.tokens, self.n_embd, device_type)


def products_of_a_run(tokens: int, width: int, device_type: str = "cpu") -> AbstractContextManager[None]:
    """Inside, float32 products are computed as a run chooses for so many tokens and channels; torch's way otherwise."""
    return matmul_precision(_chosen_precision(tokens, width, device_type))


@functools.cache
def _chosen_precision(tokens: int, width: int, device_type: str) -> str:
    return choose_matmul_precision("auto", device_type, ProductSize(tokens, width)).name


def build_model(config: RunConfig, device_type: str = "cpu") -> LanguageModel:
    """A model on its fastest backend whose every part lives: a fresh one has matrices of zeros, which hide errors."""
    model = LanguageModel(config)
    if config.kernel.compile == "time_mix":
        compile_time_mix(model)
    model.use_wkv_backend(choose_backend("auto", device_type).name, config.kernel.chunk_len)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(0.3 * parameter.shape[-1] ** -0.5 * torch.randn(parameter.shape, generator=generator))
    return model.to(device_type)
