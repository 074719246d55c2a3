"""Building the tokenizer that a configuration asks for, and keeping it: as JSON, and trained ones in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camoe.config import ConfigError
from camoe.config.tokenizer import TokenizerConfig
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.rwkv_world_tokenizer import RwkvWorldTokenizer
from camoe.data.tokenizer import Tokenizer

if TYPE_CHECKING:
    from camoe.data.bpe_tokenizer import BpeTokenizer

NOT_OF_THIS_FORM = (ValueError, KeyError, TypeError)
"""What reading JSON raises where it is none, or says something else."""
LIBRARIES = {"byte": None, "bpe": "tokenizers", "rwkv_world": "pyrwkv-tokenizer"}


def build_tokenizer(config: TokenizerConfig, training_texts: Callable[[], Iterable[str]], cache_dir: Path) -> Tokenizer:
    """The tokenizer of `config`; `training_texts` is read only where merges have to be learned from it."""
    if config.kind == "byte":
        return ByteTokenizer()
    if config.kind == "rwkv_world":
        return RwkvWorldTokenizer()
    if config.path is not None:
        return _kept_bpe(Path(config.path), config.vocab_size)
    return trained_bpe(config.vocab_size, training_texts(), cache_dir)


def from_json(content: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described."""
    if content["kind"] == "byte":
        return ByteTokenizer()
    if content["kind"] == "rwkv_world":
        return RwkvWorldTokenizer()
    from camoe.data.bpe_tokenizer import BpeTokenizer

    return BpeTokenizer.from_json(content)


def read_tokenizer(path: Path) -> Tokenizer | None:
    """The tokenizer of a file of `write_json`, or None when there is none or it is damaged."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, *NOT_OF_THIS_FORM):
        return None


def library_version(kind: str) -> str:
    """Name and version of the library that decides the ids, for cache keys."""
    library = LIBRARIES[kind]
    try:
        return f"{library}=={version(library)}" if library else "none"
    except PackageNotFoundError:
        return f"{library} is not installed"


def tokenizer_identity(config: TokenizerConfig) -> list[str | int | None]:
    """JSON-ready facts that decide the ids beside the text; ConfigError for a file that cannot be read."""
    content = None if config.path is None else hashlib.sha256(_bytes_of(Path(config.path))).hexdigest()
    return [config.kind, config.vocab_size, content, library_version(config.kind)]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either absent or whole: a name of its own first, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(file.name, path)


def trained_bpe(vocab_size: int, training_texts: Iterable[str], cache_dir: Path) -> BpeTokenizer:
    """Merges learned from a sample of the texts, or found in the cache under the sample's hash."""
    from camoe.data.bpe_tokenizer import BpeTokenizer, evenly_spread

    sample = evenly_spread(training_texts)
    key = hashlib.sha256(f"{library_version('bpe')} {vocab_size}".encode())
    for text in sample:
        key.update(hashlib.sha256(text.encode()).digest())
    path = cache_dir / "tokenizers" / f"bpe-{vocab_size}-{key.hexdigest()[:16]}.json"
    if isinstance(kept := read_tokenizer(path), BpeTokenizer):
        return kept
    tokenizer = BpeTokenizer.train(sample, vocab_size)
    write_json(path, tokenizer.to_json())
    return tokenizer


def _kept_bpe(path: Path, vocab_size: int) -> BpeTokenizer:
    """The tokenizer of a file of job=train_tokenizer, which must have the size that the model is made for."""
    from camoe.data.bpe_tokenizer import BpeTokenizer

    try:
        tokenizer = BpeTokenizer.from_json(json.loads(_bytes_of(path)))
    except NOT_OF_THIS_FORM:
        raise ConfigError(f"tokenizer.path: {path} is no tokenizer of job=train_tokenizer") from None
    if tokenizer.vocab_size != vocab_size:
        raise ConfigError(
            f"tokenizer.vocab_size: {vocab_size}, but {path} has {tokenizer.vocab_size}; "
            f"give tokenizer.vocab_size={tokenizer.vocab_size}"
        )
    return tokenizer


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"tokenizer.path: {path} cannot be read ({error.strerror})") from None
