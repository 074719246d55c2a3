"""Dialogues and pairs of answers: read, checked, made into tokens, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from camoe.config import ConfigError
from camoe.config.data import ONE_PATH, DataConfig
from camoe.data.answer_items import Item, item_bytes, read_items
from camoe.data.answer_records import AnswerRecords, answer_records
from camoe.data.answer_rows import PackedRows
from camoe.data.cache_folder import being_made
from camoe.data.chat_template import encode_dialogues
from camoe.data.flushed import flush_to_disk
from camoe.data.packed_parts import PackedParts
from camoe.data.packing import QUANTILES
from camoe.data.progress import ProgressBar
from camoe.data.source import Split
from camoe.data.token_file import DAMAGED_ARRAYS, token_dtype
from camoe.data.tokenizer import SEPARATOR, Tokenizer
from camoe.data.tokenizer_store import NOT_OF_THIS_FORM

log = logging.getLogger(__name__)

LAYOUT_VERSION = 2  # raise it when records, template or packing change, so that older caches are not found
SETTINGS = {profile: f"data.{name}" for profile, name in ONE_PATH.items()}
"""Where each data profile is given."""
ARRAYS = ("tokens", "learned", "starts")
BATCH_ITEMS = 1024


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


def prepare_answers(
    profile: str, data: DataConfig, tokenizer: Tokenizer, progress: Callable[[str, int], None] | None = None
) -> AnswerData:
    """The data of profile sft or preferences, from the cache or made now; ConfigError for a record that is broken.

    `progress(stage, bytes done)` is called while it is made; by default a bar appears when it takes long.
    """
    sources = answer_records(profile, data)
    weights = {name: source.weight for name, source in data.named(profile).items()}
    cache_dir = Path(data.cache_dir)
    with ProgressBar() as bar:
        progress = progress or bar
        for source in sources.values():
            source.fetch(progress)
        facts = [LAYOUT_VERSION, profile, tokenizer.fingerprint, data.valid_fraction, weights, data.mixture_seed]
        identity = {name: source.identity() for name, source in sources.items()}
        key = hashlib.sha256(json.dumps([*facts, identity]).encode()).hexdigest()[:16]
        cache = cache_dir / f"{profile}-{tokenizer.name}-{key}.npz"
        found = _load(cache)
        if found is None:
            unfinished = cache.with_suffix(".partial")
            with being_made(cache, unfinished):
                found = _load(cache)  # another process may have made it while this one waited
                if found is None:
                    _save(cache, *_make(profile, data, sources, tokenizer, progress, unfinished))
                    shutil.rmtree(unfinished)
                    found = _load(cache)
    assert found is not None
    return found


def _make(
    profile: str,
    data: DataConfig,
    sources: Mapping[str, AnswerRecords],
    tokenizer: Tokenizer,
    progress: Callable[[str, int], None],
    unfinished: Path,
) -> tuple[dict[Split, PackedRows], dict[str, Any]]:
    """Rows of both parts; the held-out part first, so that its items are left out of the other.

    What is tokenised is kept in the folder `unfinished`, where an interrupted call is gone on with.
    """
    packed: dict[Split, PackedRows] = {}
    statistics: dict[str, Any] = {}
    seen: set[bytes] = set()
    checksum = hashlib.sha256(tokenizer.fingerprint.encode())
    parts: tuple[Split, ...] = ("valid", "train")
    for split in parts:
        distinct, counts = read_items(profile, data, sources, split, seen)
        if not distinct:
            part = "held-out" if split == "valid" else "training"
            raise ConfigError(f"{SETTINGS[profile]}: nothing in the {part} part; give more records")
        packing = PackedParts(unfinished, split)
        rows = _pack(distinct, tokenizer, packing, partial(progress, f"tokenising {profile} {split}"))
        for content in (rows.tokens, rows.learned, rows.starts):
            checksum.update(content.tobytes())
        packed[split] = rows
        statistics[split] = _figures(distinct, rows) | asdict(counts)
    return packed, {**statistics, "fingerprint": checksum.hexdigest()}


def _figures(items: list[Item], rows: PackedRows) -> dict[str, Any]:
    """JSON-ready: what was packed; lengths are tokens of a row."""
    lengths = np.diff(rows.starts)
    size = sum(map(item_bytes, items))
    quantiles = np.quantile(lengths, QUANTILES)
    return {
        "items": rows.items,
        "tokens": len(rows.tokens),
        "learned": int(rows.learned.sum()),
        "bytes": size,
        "bytes_per_token": size / max(1, int((rows.tokens != SEPARATOR).sum())),
        "row_tokens": {f"p{100 * q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
    }


def _pack(items: list[Item], tokenizer: Tokenizer, parts: PackedParts, progress: Callable[[int], None]) -> PackedRows:
    """Rows one behind the other, those in `parts` as they are; progress(bytes done)."""
    dtype = token_dtype(tokenizer.vocab_size)
    done = sum(map(item_bytes, items[: len(parts) * BATCH_ITEMS]))
    for start in range(len(parts) * BATCH_ITEMS, len(items), BATCH_ITEMS):
        batch = items[start : start + BATCH_ITEMS]
        encoded = encode_dialogues([row for item in batch for row in item], tokenizer)
        parts.add(
            {
                "tokens": np.array([token for row in encoded for token in row.tokens], dtype=dtype),
                "learned": np.array([counts for row in encoded for counts in row.learned]),
                "lengths": np.array([len(row.tokens) for row in encoded], dtype=np.int64),
            }
        )
        done += sum(map(item_bytes, batch))
        progress(done)
    tokens, learned, lengths = (np.concatenate(list(parts.each(name))) for name in ("tokens", "learned", "lengths"))
    return PackedRows(tokens, learned, np.concatenate([[0], np.cumsum(lengths)]), len(items[0]))


def _save(cache: Path, packed: dict[Split, PackedRows], statistics: dict[str, Any]) -> None:
    """A file that is either absent or whole."""
    arrays = {f"{split}_{name}": getattr(rows, name) for split, rows in packed.items() for name in ARRAYS}
    text = json.dumps({**statistics, "rows_per_item": packed["train"].rows_per_item})
    with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".partial", delete=False) as file:
        np.savez(file, statistics=np.array(text), **arrays)
    flush_to_disk(Path(file.name))
    os.replace(file.name, cache)


def _load(cache: Path) -> AnswerData | None:
    """What `_save` left there, or None when there is nothing or it is damaged, which a warning says."""
    if not cache.is_file():
        return None
    try:
        with np.load(cache, allow_pickle=False) as stored:
            statistics = json.loads(str(stored["statistics"]))
            per_item = statistics.pop("rows_per_item")
            train, valid = (
                PackedRows(**{name: stored[f"{split}_{name}"] for name in ARRAYS}, rows_per_item=per_item)
                for split in ("train", "valid")
            )
    except (*DAMAGED_ARRAYS, *NOT_OF_THIS_FORM):
        log.warning("prepared answers in %s are damaged", cache)
        return None
    return AnswerData(train, valid, statistics)
