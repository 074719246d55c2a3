import json
from pathlib import Path

import pytest

from camoe.config.tokenizer import TokenizerConfig
from camoe.data.bpe_tokenizer import BpeTokenizer
from camoe.data.tokenizer import Tokenizer
from camoe.data.tokenizer_store import build_tokenizer, from_json

BPE = TokenizerConfig(kind="bpe", vocab_size=300)


def test_json_round_trip(tokenizer: Tokenizer, modules: list[str]) -> None:
    again = from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again.encode(modules[0]) == tokenizer.encode(modules[0])
    assert (again.name, again.fingerprint) == (tokenizer.name, tokenizer.fingerprint)


def test_merges_are_learned_once(tmp_path: Path, modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_tokenizer(BPE, lambda: modules[:5], tmp_path)
    monkeypatch.setattr(BpeTokenizer, "train", None)
    assert build_tokenizer(BPE, lambda: modules[:5], tmp_path).fingerprint == first.fingerprint


def test_other_text_is_another_tokenizer(tmp_path: Path, modules: list[str]) -> None:
    first = build_tokenizer(BPE, lambda: modules[:5], tmp_path)
    second = build_tokenizer(BPE, lambda: modules[5:10], tmp_path)
    assert first.fingerprint != second.fingerprint
    assert len(list((tmp_path / "tokenizers").glob("*.json"))) == 2


def test_byte_tokenizer_reads_no_text(tmp_path: Path) -> None:
    built = build_tokenizer(TokenizerConfig(kind="byte", vocab_size=256), lambda: pytest.fail("read"), tmp_path)
    assert built.name == "byte-256"
