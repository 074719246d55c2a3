"""Dialogues and pairs of one part, each once: what is left out is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data.answer_records import AnswerRecords
from camoe.data.chat_template import Turn, turns
from camoe.data.dialogue_records import dialogue_of, pair_of
from camoe.data.interleaving import interleave
from camoe.data.source import Split, split_of

Item = tuple[list[Turn], ...]
"""One dialogue, or the chosen and the rejected one of a pair."""


@dataclass
class ItemCounts:
    """What was left out of one part. A record that is broken is left out of a data set, and refused in a file."""

    duplicates_dropped: int = 0
    equal_answers_dropped: int = 0
    broken_dropped: int = 0


def read_items(
    profile: str, data: DataConfig, sources: Mapping[str, AnswerRecords], split: Split, seen: set[bytes]
) -> tuple[list[Item], ItemCounts]:
    """The items of a part: of one source as they stand, of several drawn by their weights.

    Those in `seen` are left out and new ones added to it, by hash; so are pairs whose answers are equal.
    """
    counts = ItemCounts()
    streams = {name: _items(profile, source, split, data.valid_fraction, counts) for name, source in sources.items()}
    if len(streams) == 1:
        return _distinct(next(iter(streams.values())), seen, counts), counts
    weights = {name: source.weight for name, source in data.named(profile).items()}
    drawn = (item for _, item in interleave(streams, weights, item_bytes, data.mixture_seed))
    return _distinct(drawn, seen, counts), counts


def item_bytes(item: Item) -> int:
    """UTF-8 bytes of all that is said in it."""
    return sum(len(text.encode()) for row in item for turn in row for text in (turn.prompt, turn.answer))


def _items(
    profile: str, source: AnswerRecords, split: Split, valid_fraction: float, counts: ItemCounts
) -> Iterator[Item]:
    """Items of a part; where both parts share the records, by the hash of their first question."""
    for where, record in source.records(split):
        try:
            item = _item(profile, record, where)
        except ConfigError:
            if not source.may_be_broken:
                raise
            counts.broken_dropped += 1
            continue
        if source.is_parted or split_of(item[0][0].prompt.encode(), valid_fraction) == split:
            yield item


def _item(profile: str, record: Mapping[str, Any], where: str) -> Item:
    if profile == "sft":
        return (turns(dialogue_of(record, where)),)
    pair = pair_of(record, where)
    return (turns(pair.chosen, last_only=True), turns(pair.rejected, last_only=True))


def _distinct(items: Iterator[Item], seen: set[bytes], counts: ItemCounts) -> list[Item]:
    kept: list[Item] = []
    for item in items:
        digest = hashlib.sha256(repr(item).encode()).digest()
        if len(item) == 2 and item[0] == item[1]:
            counts.equal_answers_dropped += 1
        elif digest in seen:
            counts.duplicates_dropped += 1
        else:
            seen.add(digest)
            kept.append(item)
    return kept
