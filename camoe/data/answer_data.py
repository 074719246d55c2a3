"""Dialogues and pairs of answers: read, checked, made into tokens, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.answer_rows import PackedRows
from camoe.data.chat_template import Turn, encode_dialogues, turns
from camoe.data.dialogue_records import dialogue_of, pair_of
from camoe.data.local_files import find_files
from camoe.data.progress import ProgressBar
from camoe.data.record_file import json_objects
from camoe.data.source import Split, file_identity, split_of
from camoe.data.token_file import token_dtype
from camoe.data.tokenizer import Tokenizer

LAYOUT_VERSION = 1  # raise it when records, template or packing change, so that older caches are not found
SUFFIXES = (".jsonl", ".jsonl.gz")
SETTINGS = {"sft": "data.sft_path", "preferences": "data.preference_path"}
"""Where each data profile is given."""
BATCH_ITEMS = 1024

Item = tuple[list[Turn], ...]
"""One dialogue, or the chosen and the rejected one of a pair."""


@dataclass(frozen=True)
class AnswerData:
    """Training and held-out rows that share no item. statistics: items, tokens and what was left out, by part."""

    train: PackedRows
    valid: PackedRows
    statistics: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """sha256 of tokenizer, tokens and masks; does not depend on where the files or the cache lie."""
        return self.statistics["fingerprint"]


def prepare_answers(profile: str, data: DataConfig, tokenizer: Tokenizer) -> AnswerData:
    """The data of profile sft or preferences, from the cache or made now; ConfigError for a record that is broken."""
    setting = SETTINGS[profile]
    path = Path(getattr(data, setting.removeprefix("data.")))
    files = find_files(path, setting, SUFFIXES)
    facts = [LAYOUT_VERSION, profile, tokenizer.fingerprint, None if path.is_dir() else data.valid_fraction]
    identity = [file_identity(file.resolve()) for file in files.values()]
    key = hashlib.sha256(json.dumps([*facts, identity]).encode()).hexdigest()[:16]
    cache = Path(data.cache_dir) / f"{profile}-{tokenizer.name}-{key}.npz"
    if not cache.is_file():
        _save(cache, *_make(profile, path, files, data.valid_fraction, tokenizer))
    return _load(cache)


def _make(
    profile: str, path: Path, files: dict[Split, Path], valid_fraction: float, tokenizer: Tokenizer
) -> tuple[dict[Split, PackedRows], dict[str, Any]]:
    """Rows of both parts; the held-out part first, so that its items are left out of the other."""
    packed: dict[Split, PackedRows] = {}
    statistics: dict[str, Any] = {}
    seen: set[bytes] = set()
    checksum = hashlib.sha256(tokenizer.fingerprint.encode())
    parts: tuple[Split, ...] = ("valid", "train")
    with ProgressBar() as bar:
        for split in parts:
            wanted = None if path.is_dir() else (split, valid_fraction)
            items = _items(profile, files[split], wanted)
            distinct, counts = _distinct(items, seen)
            if not distinct:
                part = "held-out" if split == "valid" else "training"
                raise ConfigError(f"{SETTINGS[profile]}: nothing in the {part} part of {path}; give more records")
            bar(f"tokenising {profile}", 0)
            rows = _pack(distinct, tokenizer)
            for content in (rows.tokens, rows.learned, rows.starts):
                checksum.update(content.tobytes())
            packed[split] = rows
            learned = int(rows.learned.sum())
            statistics[split] = {"items": rows.items, "tokens": len(rows.tokens), "learned": learned, **counts}
    return packed, {**statistics, "fingerprint": checksum.hexdigest()}


def _items(profile: str, file: Path, wanted: tuple[Split, float] | None) -> Iterator[Item]:
    """Items of one file; `wanted`: only those whose first question falls into this part of the file by its hash."""
    for place, record in json_objects(file, SETTINGS[profile]):
        where = f"{SETTINGS[profile]}: {place}"
        if profile == "sft":
            item: Item = (turns(dialogue_of(record, where)),)
        else:
            pair = pair_of(record, where)
            item = (turns(pair.chosen, last_only=True), turns(pair.rejected, last_only=True))
        if wanted is None or split_of(item[0][0].prompt.encode(), wanted[1]) == wanted[0]:
            yield item


def _distinct(items: Iterator[Item], seen: set[bytes]) -> tuple[list[Item], dict[str, int]]:
    """Items that have not been `seen`, and pairs whose answers differ; counts of the others."""
    kept: list[Item] = []
    counts = {"duplicates_dropped": 0, "equal_answers_dropped": 0}
    for item in items:
        digest = hashlib.sha256(repr(item).encode()).digest()
        if len(item) == 2 and item[0] == item[1]:
            counts["equal_answers_dropped"] += 1
        elif digest in seen:
            counts["duplicates_dropped"] += 1
        else:
            seen.add(digest)
            kept.append(item)
    return kept, counts


def _pack(items: list[Item], tokenizer: Tokenizer) -> PackedRows:
    tokens, learned, lengths = [], [], [0]
    dtype = token_dtype(tokenizer.vocab_size)
    for start in range(0, len(items), BATCH_ITEMS):
        rows = [row for item in items[start : start + BATCH_ITEMS] for row in item]
        for encoded in encode_dialogues(rows, tokenizer):
            tokens.append(np.array(encoded.tokens, dtype=dtype))
            learned.append(np.array(encoded.learned))
            lengths.append(len(encoded.tokens))
    starts = np.cumsum(np.array(lengths, dtype=np.int64))
    return PackedRows(np.concatenate(tokens), np.concatenate(learned), starts, len(items[0]))


def _save(cache: Path, packed: dict[Split, PackedRows], statistics: dict[str, Any]) -> None:
    """A file that is either absent or whole."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"data.cache_dir: {cache.parent} cannot be made ({error.strerror})") from None
    arrays = {
        f"{split}_{name}": getattr(rows, name)
        for split, rows in packed.items()
        for name in ("tokens", "learned", "starts")
    }
    text = json.dumps({**statistics, "rows_per_item": packed["train"].rows_per_item})
    with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".partial", delete=False) as file:
        np.savez(file, statistics=np.array(text), **arrays)
    os.replace(file.name, cache)


def _load(cache: Path) -> AnswerData:
    with np.load(cache) as stored:
        statistics = json.loads(str(stored["statistics"]))
        per_item = statistics.pop("rows_per_item")
        train, valid = (
            PackedRows(
                stored[f"{split}_tokens"], stored[f"{split}_learned"], stored[f"{split}_starts"], rows_per_item=per_item
            )
            for split in ("train", "valid")
        )
    return AnswerData(train, valid, statistics)
