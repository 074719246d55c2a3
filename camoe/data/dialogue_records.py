"""From JSON records to checked messages: the common forms of dialogues and of pairs of answers.

The question of a record is one of
    {"messages": [{"role": ..., "content": ...}, ...]}          the chat form
    {"conversations": [{"from": ..., "value": ...}, ...]}       the ShareGPT form
    {"instruction": ..., "input": ..., "output": ...}           the Alpaca form; input may be missing or empty
    {"prompt": ...}                                             for pairs of answers; text, or messages of either form
A dialogue ends with an answer. A pair has "chosen" and "rejected" beside its question: each text, a message, or a list
of messages whose last one is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from camoe.config import ConfigError
from camoe.data.chat_template import ASSISTANT, SYSTEM, USER, Message

ROLES = {"user": USER, "human": USER, "assistant": ASSISTANT, "gpt": ASSISTANT, "system": SYSTEM}
LISTS = ("messages", "conversations")
QUESTIONS = (*LISTS, "instruction", "prompt")
FIELDS = (*QUESTIONS, "input", "output", "system", "chosen", "rejected")
"""All fields that are read; others of a record are of no use."""


class BadRecord(ValueError):
    """What is wrong with a record, without where it stands."""


class Pair(NamedTuple):
    """The same dialogue with the better and with the worse answer at its end."""

    chosen: list[Message]
    rejected: list[Message]


def dialogue_of(record: Mapping[str, Any], where: str) -> list[Message]:
    """The messages of a dialogue that ends with an answer; `where` stands before what is wrong in a ConfigError."""
    try:
        answer = [Message(ASSISTANT, _text(record, "output"))] if "instruction" in record else []
        return _checked([*_question(record), *answer])
    except BadRecord as problem:
        raise ConfigError(f"{where}: {problem}") from None


def pair_of(record: Mapping[str, Any], where: str) -> Pair:
    """The two dialogues of a pair of answers."""
    try:
        question = _question(record)
        if question and question[-1].role == ASSISTANT:  # some sets end the question with the chosen answer
            question = question[:-1]
        chosen, rejected = (_checked([*question, _answer(record, name)]) for name in ("chosen", "rejected"))
    except BadRecord as problem:
        raise ConfigError(f"{where}: {problem}") from None
    return Pair(chosen, rejected)


def _question(record: Mapping[str, Any]) -> list[Message]:
    form = next((name for name in QUESTIONS if name in record), None)
    if form is None:
        fields = ", ".join(record) or "none"
        raise BadRecord(f"no question; must have one of {', '.join(QUESTIONS)} (fields: {fields})")
    if form in LISTS or (form == "prompt" and isinstance(record[form], list)):
        return _messages(record[form], form)
    text = _text(record, form)
    more = record.get("input") if form == "instruction" else None
    if more:
        text = f"{text}\n{_text(record, 'input')}"
    system = [Message(SYSTEM, _text(record, "system"))] if record.get("system") else []
    return [*system, Message(USER, text)]


def _answer(record: Mapping[str, Any], name: str) -> Message:
    value = record.get(name)
    if isinstance(value, list) and value:
        value = value[-1]
    message = _message(value, name) if isinstance(value, dict) else Message(ASSISTANT, _text(record, name))
    if message.role != ASSISTANT:
        raise BadRecord(f"'{name}' is said by {message.role}; must be an assistant's answer")
    return message


def _messages(value: object, name: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise BadRecord(f"'{name}' is {_kind(value)}; must be a list of messages")
    return [_message(item, f"{name}[{number}]") for number, item in enumerate(value)]


def _message(value: object, name: str) -> Message:
    if not isinstance(value, dict):
        raise BadRecord(f"'{name}' is {_kind(value)}; must be a message")
    role_field, text_field = ("from", "value") if "from" in value else ("role", "content")
    role = value.get(role_field)
    if not isinstance(role, str) or role not in ROLES:
        raise BadRecord(f"'{name}' has {role_field} {role!r}; must be one of {', '.join(ROLES)}")
    return Message(ROLES[role], _text(value, text_field, f"{name}."))


def _text(record: Mapping[str, Any], field: str, prefix: str = "") -> str:
    if field not in record:
        raise BadRecord(f"no field '{prefix}{field}' (fields: {', '.join(record) or 'none'})")
    if not isinstance(record[field], str):
        raise BadRecord(f"'{prefix}{field}' is {_kind(record[field])}; must be text")
    return record[field]


def _checked(messages: Sequence[Message]) -> list[Message]:
    """Roles in an order that the template can hold: perhaps a system message, then questions and answers in turn."""
    first = 1 if messages[0].role == SYSTEM else 0
    for number, message in enumerate(messages):
        expected = SYSTEM if number < first else (USER, ASSISTANT)[(number - first) % 2]
        if message.role != expected:
            raise BadRecord(f"message {number + 1} is said by {message.role}; must be by {expected}")
        if not message.content.strip():
            raise BadRecord(f"message {number + 1} ({message.role}) is empty")
    if messages[-1].role != ASSISTANT:
        raise BadRecord(f"the last message is said by {messages[-1].role}; must be an assistant's answer")
    return list(messages)


def _kind(value: object) -> str:
    return "an empty list" if value == [] else "null" if value is None else f"a {type(value).__name__}"
