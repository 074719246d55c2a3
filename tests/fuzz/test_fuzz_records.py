"""Any record as a dialogue, a pair or a prompt: messages, or one line that refuses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.chat_template import encode_dialogues, turns
from camoe.data.dialogue_records import LISTS, QUESTIONS, ROLES, dialogue_of, pair_of
from camoe.inference.prompts import read_prompts
from tests.fuzz.damage import refuse_more_lines

pytestmark = pytest.mark.slow
ANY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=12)
VALUE = (
    st.none()
    | st.booleans()
    | st.integers()
    | TEXT
    | st.lists(TEXT, max_size=2)
    | st.dictionaries(TEXT, TEXT, max_size=2)
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([*ROLES]) | VALUE for name in ("role", "from", "content", "value")}
)
NAMES = (*QUESTIONS, "input", "output", "system", "chosen", "rejected")
RECORD = st.fixed_dictionaries(
    {}, optional={name: VALUE | MESSAGE | st.lists(MESSAGE | VALUE, max_size=4) for name in NAMES}
)


@ANY
@given(record=RECORD)
@example(record={"messages": [{"role": ["user"], "content": "a"}]})
def test_any_dialogue(record: dict[str, Any]) -> None:
    try:
        (encoded,) = encode_dialogues([turns(dialogue_of(record, "file line 1"))], ByteTokenizer())
    except ConfigError as refusal:
        refuse_more_lines(refusal)
    else:
        assert any(encoded.learned)
        assert len(encoded.learned) == len(encoded.tokens)


@ANY
@given(record=RECORD)
@example(record={"prompt": [], "chosen": "a", "rejected": "b"})
def test_any_pair(record: dict[str, Any]) -> None:
    try:
        pair = pair_of(record, "file line 1")
    except ConfigError as refusal:
        refuse_more_lines(refusal)
    else:
        assert turns(pair.chosen)[0].prompt == turns(pair.rejected)[0].prompt


@ANY
@given(record=st.fixed_dictionaries({form: st.lists(MESSAGE, min_size=1, max_size=4) for form in LISTS}))
def test_any_messages(record: dict[str, Any]) -> None:
    try:
        assert turns(dialogue_of(record, "file line 1"))
    except ConfigError as refusal:
        refuse_more_lines(refusal)


@ANY
@given(
    content=st.binary(max_size=200)
    | st.lists(VALUE | RECORD, max_size=3).map(lambda v: "\n".join(map(json.dumps, v)).encode())
)
@example(content=b"[" * 100_000)
@example(content=b"9" * 5000)
def test_any_prompts(content: bytes, tmp_path: Path) -> None:
    for name in ("prompts.txt", "prompts.jsonl"):
        (tmp_path / name).write_bytes(content)
        try:
            prompts = read_prompts(tmp_path / name, "job.prompts_file")
        except ConfigError as refusal:
            refuse_more_lines(refusal)
        else:
            assert prompts
            assert all(isinstance(prompt, str) for prompt in prompts)
