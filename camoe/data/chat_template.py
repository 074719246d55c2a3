"""The one chat template: from messages to tokens, and which of them an assistant said.

A dialogue becomes, with 0 for the separator (id 0),

    0 System: {system}\\n\\nUser: {question}\\n\\nAssistant: {answer} 0 User: {question}\\n\\nAssistant: {answer} 0

Names and blank lines are those of RWKV's World models. A separator begins the dialogue and ends every answer, so that
generation, which stops at separators, stops at the end of an answer. Blank lines inside of questions and system
messages shrink to one line break, as these models expect; answers keep theirs, for they end by the separator alone.
What is learned is each answer with the space before it, and the separator behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from camoe.data.document_stream import REPLACEMENT, SURROGATES
from camoe.data.tokenizer import SEPARATOR, Tokenizer

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
NAMES = {USER: "User", ASSISTANT: "Assistant", SYSTEM: "System"}


@dataclass(frozen=True)
class Message:
    """What one side said; role is user, assistant or system."""

    role: str
    content: str


@dataclass(frozen=True)
class Turn:
    """What is read, up to and with "Assistant:", the answer behind it, and whether it is learned."""

    prompt: str
    answer: str
    learned: bool = True


@dataclass(frozen=True)
class EncodedDialogue:
    """tokens: [n], the first a separator. learned: [n], true for the tokens of answers that are targets."""

    tokens: list[int]
    learned: list[bool]


def turns(messages: Sequence[Message], *, last_only: bool = False) -> list[Turn]:
    """The dialogue turn by turn; its roles have been checked. last_only: no answer but the last is learned."""
    made: list[Turn] = []
    prompt = ""
    for message in messages:
        if message.role == ASSISTANT:
            made.append(Turn(f"{prompt}{NAMES[ASSISTANT]}:", f" {_clean(message.content)}", learned=True))
            prompt = ""
        else:
            prompt += f"{NAMES[message.role]}: {_without_blank_lines(_clean(message.content))}\n\n"
    if last_only:
        made = [*(Turn(turn.prompt, turn.answer, learned=False) for turn in made[:-1]), made[-1]]
    return made


def question(text: str) -> str:
    """What a model reads of one question, up to where its answer begins."""
    return turns([Message(USER, text), Message(ASSISTANT, "")])[0].prompt


def encode_dialogues(dialogues: Sequence[Sequence[Turn]], tokenizer: Tokenizer) -> list[EncodedDialogue]:
    """Tokens of each dialogue. Prompts and answers are encoded apart: no token lies across a mask's boundary."""
    texts = [text for dialogue in dialogues for turn in dialogue for text in (turn.prompt, turn.answer)]
    ids = iter(tokenizer.encode_batch(texts))
    encoded = []
    for dialogue in dialogues:
        tokens, learned = [SEPARATOR], [False]
        for turn in dialogue:
            prompt, answer = next(ids), next(ids)
            tokens += [*prompt, *answer, SEPARATOR]
            learned += [False] * len(prompt) + [turn.learned] * (len(answer) + 1)
        encoded.append(EncodedDialogue(tokens, learned))
    return encoded


def _clean(text: str) -> str:
    """Line ends as \\n, nothing around it, no NUL and no half of a surrogate pair (see `document_stream`)."""
    return SURROGATES.sub(REPLACEMENT, text.replace("\0", "").replace("\r\n", "\n")).strip()


def _without_blank_lines(text: str) -> str:
    return re.sub(r"\n\s*\n", "\n", text)
