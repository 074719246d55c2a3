"""A byte-pair tokenizer made for its own sake: trained as a run would, measured on held-out text, kept in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.bpe_tokenizer import BpeTokenizer
from camoe.data.document_stream import DocumentStream, no_document
from camoe.data.open_source import open_source
from camoe.data.packing import batches
from camoe.data.preparation import reported
from camoe.data.progress import ProgressBar
from camoe.data.tokenizer_store import trained_bpe, write_json


@dataclass(frozen=True)
class TrainedTokenizer:
    """A tokenizer, and what it makes of the held-out text."""

    tokenizer: BpeTokenizer
    statistics: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the file that `tokenizer.path` reads; ConfigError where that cannot be."""
        try:
            write_json(path, {**self.tokenizer.to_json(), "statistics": self.statistics})
        except OSError as error:
            raise ConfigError(f"job.output: {path} cannot be written ({error.strerror})") from None


def train_tokenizer(data: DataConfig, vocab_size: int) -> TrainedTokenizer:
    """Merges learned from the training part of `data`; ConfigError when it gives fewer ids than asked for."""
    source = open_source(data)
    with ProgressBar() as progress:
        source.fetch(progress)
        stream = DocumentStream(source, data)
        tokenizer = trained_bpe(vocab_size, reported(stream.read("train"), progress), Path(data.cache_dir))
        if tokenizer.learned_ids < vocab_size:
            raise ConfigError(
                f"tokenizer.vocab_size: {vocab_size} is more than {source.description} gives, "
                f"which has merges for {tokenizer.learned_ids}; give less, or more text"
            )
        statistics = _held_out(tokenizer, stream, progress)
    return TrainedTokenizer(tokenizer, {"text": source.description, **statistics})


def _held_out(tokenizer: BpeTokenizer, stream: DocumentStream, progress: ProgressBar) -> dict[str, Any]:
    documents = tokens = size = 0
    for texts in batches(stream.read("valid")):
        documents += len(texts)
        size += sum(len(text.encode()) for text in texts)
        tokens += sum(map(len, tokenizer.encode_batch(texts)))
        progress("encoding held-out text", size)
    if not documents:
        raise no_document("valid", stream.description)
    return {
        "held_out_documents": documents,
        "held_out_bytes": size,
        "held_out_tokens": tokens,
        "bytes_per_token": size / tokens,
    }
