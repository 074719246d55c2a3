"""The RWKV World vocabulary: greedy longest match over 65,529 byte strings, ids from 1.

`pyrwkv-tokenizer` encodes; decoding uses an own table, because the package's decoder aborts with a panic that no
`except Exception` catches on bytes that are not UTF-8 and on ids above the vocabulary.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from camoe.config import ConfigError
from camoe.data.tokenizer import Tokenizer

PACKAGE = "pyrwkv_tokenizer"
VOCABULARY_FILES = "rwkv_vocab_*.txt"


class RwkvWorldTokenizer(Tokenizer):
    """Models have 65,536 rows; id 0 is end of text, ids above 65,529 stand for nothing."""

    kind = "rwkv_world"
    vocab_size = 65536

    def __init__(self) -> None:
        self._vocabulary = _vocabulary_file()

    @cached_property
    def token_bytes(self) -> Sequence[bytes]:
        return _read_table(self._vocabulary, self.vocab_size)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._vocabulary.read_bytes()).hexdigest()

    def encode(self, text: str) -> list[int]:
        return self._encoder.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encoder.encode_batch(list(texts))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @cached_property
    def _encoder(self) -> Any:
        # reading prepared tokens needs no encoder, and building its search tree takes a second
        from pyrwkv_tokenizer import RWKVTokenizer

        return RWKVTokenizer(vocab_filepath=str(self._vocabulary))


def _vocabulary_file() -> Path:
    """The vocabulary inside the installed package."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ConfigError("tokenizer.kind: rwkv_world needs pyrwkv-tokenizer; pip install pyrwkv-tokenizer")
    found = sorted(Path(package.origin).parent.glob(VOCABULARY_FILES))
    if not found:
        raise ConfigError(f"tokenizer.kind: rwkv_world found no {VOCABULARY_FILES} in {Path(package.origin).parent}")
    return found[-1]


def _read_table(vocabulary: Path, size: int) -> list[bytes]:
    """Lines of `id literal length`; the literal is a Python str or bytes and may hold spaces."""
    table = [b""] * size
    for line in vocabulary.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        index, _, rest = line.partition(" ")
        literal, _, length = rest.rpartition(" ")
        value = ast.literal_eval(literal)
        table[int(index)] = value.encode() if isinstance(value, str) else value
        if len(table[int(index)]) != int(length):
            raise ConfigError(f"tokenizer.kind: rwkv_world cannot read {vocabulary}, token {index} has another length")
    return table
