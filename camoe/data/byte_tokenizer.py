"""Every UTF-8 byte is its own id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from camoe.config import ConfigError
from camoe.data.tokenizer import Tokenizer


class ByteTokenizer(Tokenizer):
    """id = byte; the NUL byte is the separator, so text that holds one is refused (prepared documents never do)."""

    kind = "byte"
    vocab_size = 256

    @property
    def token_bytes(self) -> Sequence[bytes]:
        return _TABLE

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"byte tokenizer, id = byte, 0 = separator").hexdigest()

    def encode(self, text: str) -> list[int]:
        if "\0" in text:
            raise ConfigError("tokenizer.kind: byte cannot encode a NUL character, id 0 separates documents; remove it")
        return list(text.encode())

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}


_TABLE = [b"", *(bytes([value]) for value in range(1, 256))]
