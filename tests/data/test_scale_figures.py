import gzip
import math
import random

import numpy as np
import pytest

from camoe.data.scale_figures import byte_counts, gzip_bits_per_byte, unigram_bits_per_byte


def test_unigram_of_untrained_counts_is_eight_bits() -> None:
    assert unigram_bits_per_byte(np.zeros(256), byte_counts(b"hello")) == pytest.approx(8.0)


def test_unigram_by_hand() -> None:
    train, held_out = byte_counts(b"aab"), byte_counts(b"abz")
    expected = -(math.log2(3 / 259) + math.log2(2 / 259) + math.log2(1 / 259)) / 3
    assert unigram_bits_per_byte(train, held_out) == pytest.approx(expected)


def test_gzip_agrees_with_the_gzip_module() -> None:
    content = " ".join(random.Random(0).choices(["market", "capital", "gate"], k=5000)).encode()
    chunks = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    expected = 8 * len(gzip.compress(content, 9)) / len(content)
    assert gzip_bits_per_byte(chunks) == pytest.approx(expected, rel=1e-3)
    noise = random.Random(0).randbytes(10_000)
    assert gzip_bits_per_byte([noise]) == pytest.approx(8.0, rel=0.01)
