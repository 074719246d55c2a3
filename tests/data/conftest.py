"""Text and tokenizers that several tests of the data room share."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from camoe.data.bpe_tokenizer import BpeTokenizer
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.data.python_stdlib import PythonStdlib
from camoe.data.rwkv_world_tokenizer import RwkvWorldTokenizer
from camoe.data.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def modules() -> list[str]:
    """Forty modules of the standard library, a few hundred kilobytes."""
    return list(islice(PythonStdlib(valid_fraction=0.05).documents("train"), 40))


@pytest.fixture(scope="session")
def bpe(modules: list[str]) -> BpeTokenizer:
    return BpeTokenizer.train(modules, vocab_size=512)


@pytest.fixture(scope="session")
def world() -> RwkvWorldTokenizer:
    pytest.importorskip("pyrwkv_tokenizer", reason="pyrwkv-tokenizer is not installed")
    return RwkvWorldTokenizer()


@pytest.fixture(params=["byte", "bpe", "world"], scope="session")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return ByteTokenizer() if request.param == "byte" else request.getfixturevalue(request.param)


@pytest.fixture
def jsonl(tmp_path: Path, modules: list[str]) -> Path:
    """A file of 200 short documents: paragraphs of real modules."""
    paragraphs = [part for text in modules for part in text.split("\n\n") if len(part) > 200][:200]
    path = tmp_path / "paragraphs.jsonl"
    path.write_text("".join(json.dumps({"text": part}) + "\n" for part in paragraphs), encoding="utf-8")
    return path
