import hashlib
from pathlib import Path

import numpy as np
import pytest

from camoe.data import packing
from camoe.data.packing import pack
from camoe.data.token_file import TokenFile, token_dtype
from camoe.data.tokenizer import Tokenizer


def pack_quietly(documents: list[str], tokenizer: Tokenizer, folder: Path) -> tuple[TokenFile, np.ndarray]:
    return pack(documents, tokenizer, folder, "train", lambda *_: None)


def test_documents_stand_between_separators(tmp_path: Path, tokenizer: Tokenizer) -> None:
    packed, _ = pack_quietly(["ab", "é", "def f():"], tokenizer, tmp_path)
    ids = [tokenizer.encode(text) for text in ("ab", "é", "def f():")]
    assert packed.tokens.tolist() == [0, *ids[0], 0, *ids[1], 0, *ids[2], 0]
    assert packed.document_bytes.tolist() == [2, 2, 8]
    for start, expected in zip(packed.document_starts, ids, strict=True):
        assert packed.tokens[start - 1] == 0
        assert packed.tokens[start : start + len(expected)].tolist() == expected


def test_figures_are_those_of_the_text(tmp_path: Path, tokenizer: Tokenizer, modules: list[str]) -> None:
    packed, counts = pack_quietly(modules[:8], tokenizer, tmp_path)
    content = "".join(modules[:8]).encode()
    figures = packed.statistics
    assert figures["bytes"] == packed.text_bytes == len(content) == tokenizer.byte_lengths[packed.tokens].sum()
    assert figures["tokens"] == len(packed.tokens) == figures["text_tokens"] + 9
    assert figures["bytes_per_token"] == pytest.approx(len(content) / figures["text_tokens"])
    assert counts.tolist() == [content.count(bytes([value])) for value in range(256)]
    assert packed.sha256 == hashlib.sha256(packed.path.read_bytes()).hexdigest()
    assert tokenizer.decode(packed.tokens.tolist()).encode() == content
    lengths = sorted(len(tokenizer.encode(text)) for text in modules[:8])
    assert (figures["document_tokens"]["p0"], figures["document_tokens"]["p100"]) == (lengths[0], lengths[-1])


def test_batches_do_not_show(
    tmp_path: Path, bpe: Tokenizer, modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small").mkdir()
    whole, _ = pack_quietly(modules[:8], bpe, tmp_path)
    monkeypatch.setattr(packing, "BATCH_CHARACTERS", 1000)
    small, _ = pack_quietly(modules[:8], bpe, tmp_path / "small")
    assert small.statistics == whole.statistics
    assert small.document_starts.tolist() == whole.document_starts.tolist()


def test_ids_fit_their_type() -> None:
    assert token_dtype(65536) == np.dtype("<u2")
    assert token_dtype(65537) == np.dtype("<u4")


def test_cut_off_file_is_noticed(tmp_path: Path, bpe: Tokenizer) -> None:
    packed, _ = pack_quietly(["some text"], bpe, tmp_path)
    assert packed.is_whole()
    packed.path.write_bytes(packed.path.read_bytes()[:-1])
    assert not packed.is_whole()
