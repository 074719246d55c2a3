"""Dialogues and pairs: records, template, masks, and rows that hold one dialogue each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camoe.config import ConfigError
from camoe.config.data import DataConfig
from camoe.data import answer_data
from camoe.data.answer_data import AnswerData, prepare_answers
from camoe.data.answer_loader import AnswerLoader
from camoe.data.answer_rows import AnswerRows
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.chat_template import encode_dialogues, question, turns
from camoe.data.dialogue_records import dialogue_of, pair_of

TOKENIZER = ByteTokenizer()
ALPACA = {"instruction": "Add.", "input": "1\n\n\n2", "output": "It is 3.\n\nYes."}
CHAT = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Ho"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Ta"},
    ]
}
SHAREGPT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}


def _text_and_learned(record: dict[str, Any]) -> tuple[str, str]:
    (encoded,) = encode_dialogues([turns(dialogue_of(record, "here"))], TOKENIZER)
    learned = bytes(token for token, counts in zip(encoded.tokens, encoded.learned, strict=True) if counts)
    return bytes(encoded.tokens).decode(), learned.decode()


def test_the_template_and_what_of_it_is_learned() -> None:
    assert _text_and_learned(ALPACA) == (
        "\0User: Add.\n1\n2\n\nAssistant: It is 3.\n\nYes.\0",
        " It is 3.\n\nYes.\0",
    )
    assert _text_and_learned(CHAT) == (
        "\0System: Be kind.\n\nUser: Hi\n\nAssistant: Ho\0User: Bye\n\nAssistant: Ta\0",
        " Ho\0 Ta\0",
    )
    assert _text_and_learned(SHAREGPT) == ("\0User: Hi\n\nAssistant: Ho\0", " Ho\0")


def test_a_question_is_what_stands_before_its_answer() -> None:
    assert question("Add.\n1\n\n\n2 ") == turns(dialogue_of(ALPACA, "here"))[0].prompt


@pytest.mark.parametrize(
    "answer",
    [
        "yes",
        {"role": "assistant", "content": "yes"},
        [{"from": "human", "value": "q"}, {"from": "gpt", "value": "yes"}],
    ],
)
def test_pairs_learn_their_last_answers_only(answer: object) -> None:
    pair = pair_of({**CHAT, "chosen": answer, "rejected": "no"}, "here")
    chosen, rejected = (turns(messages, last_only=True) for messages in pair)
    assert [turn.learned for turn in chosen] == [False, True]
    assert (chosen[-1].answer, rejected[-1].answer) == (" yes", " no")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"text": "x"}, "no question; must have one of"),
        ({"instruction": "x"}, "no field 'output'"),
        ({"instruction": "x", "output": " "}, "message 2 (assistant) is empty"),
        ({"messages": []}, "'messages' is an empty list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "'messages[0]' has role 'tool'"),
        ({"messages": CHAT["messages"][:2]}, "must be an assistant's answer"),
        ({"messages": CHAT["messages"][2:]}, "message 1 is said by assistant; must be by user"),
        ({"instruction": 3, "output": "x"}, "'instruction' is a int; must be text"),
    ],
)
def test_a_bad_record_is_refused_in_one_line_that_names_its_place(
    tmp_path: Path, record: dict[str, Any], problem: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(f"{json.dumps(ALPACA)}\n{json.dumps(record)}\n")
    with pytest.raises(ConfigError) as refusal:
        prepare_answers("sft", DataConfig(sft_path=str(file), cache_dir=str(tmp_path)), TOKENIZER)
    message = str(refusal.value)
    assert message.startswith(f"data.sft_path: {file} line 2: ")
    assert problem in message
    assert "\n" not in message


def _prepared(folder: Path, count: int = 60) -> AnswerData:
    records = [{"instruction": f"Say {n}.", "output": "a" * (1 + n * 7 % 50)} for n in range(count)]
    file = folder / "x.jsonl"
    file.write_text("".join(f"{json.dumps(record)}\n" for record in [*records, records[0]]))
    data = DataConfig(sft_path=str(file), cache_dir=str(folder), valid_fraction=0.2)
    return prepare_answers("sft", data, TOKENIZER)


def test_a_file_is_split_by_hash_and_found_again(tmp_path: Path) -> None:
    made, found = _prepared(tmp_path), _prepared(tmp_path)
    assert made.train.items + made.valid.items == 60
    assert made.valid.items > 2
    assert made.fingerprint == found.fingerprint
    assert np.array_equal(made.train.tokens, found.train.tokens)


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda _: b"", lambda content: content[:300] * 2])
def test_damaged_cache_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    made = _prepared(tmp_path)
    (cache,) = tmp_path.glob("sft-*.npz")
    cache.write_bytes(damage(cache.read_bytes()))
    data = DataConfig(sft_path=str(tmp_path / "x.jsonl"), cache_dir=str(tmp_path), valid_fraction=0.2)
    assert prepare_answers("sft", data, TOKENIZER).fingerprint == made.fingerprint
    assert f"prepared answers in {cache} are damaged" in caplog.text


def test_every_row_holds_one_dialogue_and_a_step_is_padded_to_its_longest(tmp_path: Path) -> None:
    rows = AnswerRows(_prepared(tmp_path).train, 64)
    loader = AnswerLoader(rows, 4, seed=3, setting="data.sft_path")
    seen: list[int] = []
    for step in range(loader.steps_per_epoch):
        read = loader.rows_of(step)
        assert read.learned is not None
        assert read.items is not None
        seen += read.items.tolist()
        assert read.tokens.shape == (4, rows.lengths(read.items).max())
        for tokens, learned in zip(read.tokens, read.learned, strict=True):
            assert bytes(tokens.tolist()).count(b"User:") == 1
            assert bytes(tokens[1:][learned].tolist()).replace(b"a", b"") in (b" \0", b" ")
    assert len(set(seen)) == len(seen)
    assert loader.padding_share(loader.steps_per_epoch) < 0.2


def test_steps_are_a_pure_function_of_seed_and_step(tmp_path: Path) -> None:
    rows = AnswerRows(_prepared(tmp_path).train, 64)
    used = AnswerLoader(rows, 4, 3, "x")
    for step in (0, 40, 5, 13):
        assert np.array_equal(used.items(step), AnswerLoader(rows, 4, 3, "x").items(step))
    whole = used.stream_hash(20)
    resumed = AnswerLoader(rows, 4, 3, "x")
    resumed.stream_hash(7)
    again = AnswerLoader(rows, 4, 3, "x")
    again.load_state_dict(resumed.state_dict())
    assert again.stream_hash(20) == whole


def test_long_rows_are_cut_and_items_without_an_answer_left_out(tmp_path: Path) -> None:
    packed = _prepared(tmp_path).train
    short = AnswerRows(packed, 32)
    assert short.cut > 0
    assert short.row_lengths.max() == 33
    with pytest.raises(ConfigError, match=r"data\.sft_path: no answer begins within train.ctx_len 8"):
        AnswerRows(packed, 8).check("data.sft_path")


@pytest.mark.parametrize("after", [0, 1, 3])
def test_interrupted_preparation_goes_on_to_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """No dialogue is tokenised twice, and nothing but the file is left."""
    file = tmp_path / "x.jsonl"
    lines = [{"instruction": f"Count to {n}.", "output": " ".join(map(str, range(n + 1)))} for n in range(40)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(answer_data, "BATCH_ITEMS", 8)
    encode, calls = answer_data.encode_dialogues, []

    def encode_some(rows: Any, tokenizer: Any) -> Any:
        if limit is not None and len(calls) == limit:
            raise KeyboardInterrupt
        calls.append(repr(rows))
        return encode(rows, tokenizer)

    def made(folder: str) -> bytes:
        prepare_answers("sft", DataConfig(sft_path=str(file), cache_dir=folder, valid_fraction=0.3), TOKENIZER)
        assert not list(Path(folder).glob("*.partial"))
        (cache,) = Path(folder).glob("sft-*.npz")
        return cache.read_bytes()

    limit: int | None = None
    whole = made(str(tmp_path / "whole"))
    monkeypatch.setattr(answer_data, "encode_dialogues", encode_some)
    limit = after
    with pytest.raises(KeyboardInterrupt):
        made(str(tmp_path / "cache"))
    limit = None
    assert made(str(tmp_path / "cache")) == whole
    assert len(calls) == len(set(calls)) > 4
