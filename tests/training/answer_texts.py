"""A few dialogues and pairs of answers, and what a trainer reads of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from camoe.config.run import RunConfig
from camoe.data.answer_data import prepare_answers
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.training.training_text import AnswerText

CTX_LEN = 48


def answer_settings(folder: Path) -> dict[str, Any]:
    """Settings of the group data, for files written into `folder`."""
    questions = [{"instruction": f"Say {n}."} for n in range(24)]
    sft = [{**question, "output": "ok" * (1 + n % 4)} for n, question in enumerate(questions)]
    pairs = [{**question, "chosen": "ok" * (1 + n % 4), "rejected": "no way"} for n, question in enumerate(questions)]
    for name, records in (("sft", sft), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    paths = {"sft_path": str(folder / "sft.jsonl"), "preference_path": str(folder / "pairs.jsonl")}
    return {**paths, "valid_fraction": 0.3, "cache_dir": str(folder)}


def answer_texts(config: RunConfig) -> dict[str, AnswerText]:
    """Both, four rows to a step."""
    return {
        profile: AnswerText.of(profile, prepare_answers(profile, config.data, ByteTokenizer()), CTX_LEN, 4, 0)
        for profile in ("sft", "preferences")
    }
