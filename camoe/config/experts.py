"""The expert mix of every mixture layer."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting


@dataclass(kw_only=True)
class ExpertsConfig:
    """How many experts of each kind a mixture layer has, and how they are built."""

    rwkv_ffn: int = setting(3, help="RWKV channel-mix experts (cheap)", low=0)
    transformer_prefix: int = setting(1, help="Transformer experts that attend to the bridged prefix (dear)", low=0)
    hidden_ratio: int = setting(4, help="hidden width of an RWKV expert, in multiples of n_embd", low=1)
    token_shift: bool = setting(True, help="RWKV experts mix in the previous token (false: the published variant)")

    def __post_init__(self) -> None:
        if self.total < 1:
            raise ConfigError("experts.rwkv_ffn: 0 with experts.transformer_prefix 0 leaves no expert; need at least 1")

    @property
    def total(self) -> int:
        """E, the experts of one layer; RWKV experts come first."""
        return self.rwkv_ffn + self.transformer_prefix
