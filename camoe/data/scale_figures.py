"""Two figures of the held-out text that give a model's bits per byte a scale: what cheap predictors reach."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

GZIP_LEVEL = 9
GZIP_WINDOW_BITS = 31  # zlib's way to ask for a gzip header


def byte_counts(content: bytes) -> npt.NDArray[np.int64]:
    """Occurrences of each byte value, [256]."""
    return np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256)


def unigram_bits_per_byte(train_counts: npt.ArrayLike, held_out_counts: npt.ArrayLike) -> float:
    """Cross-entropy, in bits per byte, of held-out bytes under the byte frequencies of the training text.

    q(b) = (train_counts[b] + 1) / (sum(train_counts) + 256)   (add-one smoothing)
    -sum_b p(b) log2 q(b), with p the held-out frequencies. Both arguments are [256] counts.
    """
    train = np.asarray(train_counts, dtype=np.float64) + 1.0
    held_out = np.asarray(held_out_counts, dtype=np.float64)
    return float(-(held_out * np.log2(train / train.sum())).sum() / held_out.sum())


def gzip_bits_per_byte(chunks: Iterable[bytes]) -> float:
    """Size of the text after gzip -9, in bits per byte of the text; header and checksum included."""
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
    text_bytes = packed_bytes = 0
    for chunk in chunks:
        text_bytes += len(chunk)
        packed_bytes += len(compressor.compress(chunk))
    packed_bytes += len(compressor.flush())
    return 8.0 * packed_bytes / text_bytes
