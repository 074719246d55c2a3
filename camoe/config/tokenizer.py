"""From text to token ids."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

LARGEST = 1 << 20  # four times the largest vocabularies that models are published with
KINDS = ("byte", "bpe", "rwkv_world")


@dataclass(kw_only=True)
class TokenizerConfig:
    kind: str = setting("bpe", help="byte, bpe (trained on the chosen data) or rwkv_world", options=KINDS)
    vocab_size: int = setting(4096, help="rows of the embedding; id 0 separates documents", low=256, high=LARGEST)
    path: str | None = setting(None, help="file of job=train_tokenizer to use, with bpe; null: trained on the text")

    def __post_init__(self) -> None:
        fixed = {"byte": 256, "rwkv_world": 65536}.get(self.kind)
        if fixed is not None and self.vocab_size != fixed:
            raise ConfigError(
                f"tokenizer.vocab_size: {self.vocab_size} does not fit tokenizer.kind {self.kind}; must be {fixed}"
            )
        if self.path and self.kind != "bpe":
            raise ConfigError(f"tokenizer.path: '{self.path}' has no effect with tokenizer.kind {self.kind}; use bpe")
        if self.kind == "bpe" and self.vocab_size < 257:
            raise ConfigError(f"tokenizer.vocab_size: {self.vocab_size} is not allowed with bpe; must be at least 257")
