"""Building the tokenizer that a configuration asks for, and keeping it: as JSON, and trained ones in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from camoe.config.tokenizer import TokenizerConfig
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.rwkv_world_tokenizer import RwkvWorldTokenizer
from camoe.data.tokenizer import Tokenizer

LIBRARIES = {"byte": None, "bpe": "tokenizers", "rwkv_world": "pyrwkv-tokenizer"}


def build_tokenizer(config: TokenizerConfig, training_texts: Callable[[], Iterable[str]], cache_dir: Path) -> Tokenizer:
    """The tokenizer of `config`; `training_texts` is read only where merges have to be learned from it."""
    if config.kind == "byte":
        return ByteTokenizer()
    if config.kind == "rwkv_world":
        return RwkvWorldTokenizer()
    return _trained_bpe(config.vocab_size, training_texts(), cache_dir / "tokenizers")


def from_json(content: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described."""
    if content["kind"] == "byte":
        return ByteTokenizer()
    if content["kind"] == "rwkv_world":
        return RwkvWorldTokenizer()
    from camoe.data.bpe_tokenizer import BpeTokenizer

    return BpeTokenizer(content["vocab_size"], content["vocab"], content["merges"])


def library_version(kind: str) -> str:
    """Name and version of the library that decides the ids, for cache keys."""
    library = LIBRARIES[kind]
    try:
        return f"{library}=={version(library)}" if library else "none"
    except PackageNotFoundError:
        return f"{library} is not installed"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either absent or whole: a name of its own first, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(file.name, path)


def _trained_bpe(vocab_size: int, training_texts: Iterable[str], cache_dir: Path) -> Tokenizer:
    from camoe.data.bpe_tokenizer import BpeTokenizer, evenly_spread

    sample = evenly_spread(training_texts)
    key = hashlib.sha256(f"{library_version('bpe')} {vocab_size}".encode())
    for text in sample:
        key.update(hashlib.sha256(text.encode()).digest())
    path = cache_dir / f"bpe-{vocab_size}-{key.hexdigest()[:16]}.json"
    if path.is_file():
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    tokenizer = BpeTokenizer.train(sample, vocab_size)
    write_json(path, tokenizer.to_json())
    return tokenizer
