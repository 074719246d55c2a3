import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.data.bpe_tokenizer import SEPARATOR_NAME, BpeTokenizer, evenly_spread

TRAIN = """
from camoe.data.bpe_tokenizer import BpeTokenizer
print(BpeTokenizer.train(["the cat sat on the mat, the dog sat on the log"] * 50, 280).fingerprint)
"""


def test_separator_spelled_in_a_text_is_text(bpe: BpeTokenizer) -> None:
    ids = bpe.encode(f"a{SEPARATOR_NAME}b")
    assert 0 not in ids
    assert bpe.decode(ids) == f"a{SEPARATOR_NAME}b"


def test_bytes_that_training_never_saw_are_encoded() -> None:
    tokenizer = BpeTokenizer.train(["aaaa"], vocab_size=300)
    everything = bytes(range(256)).decode("latin-1") + "🙂"
    assert tokenizer.decode(tokenizer.encode(everything)) == everything


def test_small_corpus_leaves_ids_unused() -> None:
    tokenizer = BpeTokenizer.train(["ab ab ab"], vocab_size=300)
    assert len(tokenizer.token_bytes) == 300
    assert tokenizer.decode([299]) == ""


def test_training_compresses(bpe: BpeTokenizer, modules: list[str]) -> None:
    assert len(bpe.encode(modules[0])) < len(modules[0].encode()) / 1.8


def test_saved_form_gives_the_same_ids(bpe: BpeTokenizer, modules: list[str]) -> None:
    content = bpe.to_json()
    again = BpeTokenizer(content["vocab_size"], content["vocab"], content["merges"])
    assert again.encode(modules[1]) == bpe.encode(modules[1])
    assert again.fingerprint == bpe.fingerprint


@pytest.mark.parametrize("threads", ["1", "2"])
def test_training_does_not_depend_on_threads(threads: str) -> None:
    environment = os.environ | {"RAYON_NUM_THREADS": threads}
    run = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True, env=environment)
    expected = BpeTokenizer.train(["the cat sat on the mat, the dog sat on the log"] * 50, 280).fingerprint
    assert run.stdout.strip() == expected


@given(sizes=st.lists(st.integers(1, 50), min_size=1), budget=st.integers(50, 500))
def test_sample_is_every_sth_text_within_the_budget(sizes: list[int], budget: int) -> None:
    texts = [chr(0x100 + i) * n for i, n in enumerate(sizes)]
    sample = evenly_spread(texts, budget)
    strides = [1 << k for k in range(len(texts).bit_length() + 1)]
    whole = [texts[::stride] for stride in strides]
    within = [choice for choice in whole if sum(len(text.encode()) for text in choice) <= budget]
    assert sample == (within[0] if within else [texts[0].encode()[:budget].decode(errors="ignore")])
