"""Codes of few bits as bytes without gaps.

A code is cut into fields whose widths divide a byte: 6 bits into 4 and 2, 5 into 4 and 1. All first fields lie side by
side, then all second ones. Weights are mostly small, so that the upper fields are alike and shrink again under zstd.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
PACKED = {8: (8,), 6: (4, 2), 5: (4, 1), 4: (4,)}
WHOLE_BYTES = (8,)


def widths_of(bits: int, layout: str) -> tuple[int, ...]:
    """Widths of the fields: those of PACKED, or for the layout 'bytes' one byte a code."""
    return PACKED[bits] if layout == "packed" else WHOLE_BYTES


def packed_size(count: int, widths: tuple[int, ...]) -> int:
    """Bytes of `count` codes."""
    return sum(-(-count * width // 8) for width in widths)


def pack_codes(codes: npt.NDArray[np.int8], bits: int, widths: tuple[int, ...]) -> bytes:
    """Codes [N] in -(2^(bits-1) - 1) .. 2^(bits-1) - 1, the lowest as 0; of a byte the lower bits are filled first."""
    shifted = (codes + np.int8(2 ** (bits - 1) - 1)).view(np.uint8)
    below, fields = sum(widths), []
    for width in widths:
        below -= width
        fields.append(_side_by_side(shifted >> below & 2**width - 1, width))
    return b"".join(fields)


def unpack_codes(packed: bytes, count: int, bits: int, widths: tuple[int, ...]) -> npt.NDArray[np.int8]:
    """The codes [count] that `pack_codes` packed."""
    codes, place = np.zeros(count, dtype=np.uint8), 0
    for width in widths:
        size = packed_size(count, (width,))
        field = np.frombuffer(packed, np.uint8, size, place)
        codes = codes << np.uint8(width % 8) | _apart(field, width)[:count]
        place += size
    return codes.view(np.int8) - np.int8(2 ** (bits - 1) - 1)


def _side_by_side(values: Bytes, width: int) -> bytes:
    per_byte = 8 // width
    padded = np.pad(values, (0, -len(values) % per_byte)).reshape(-1, per_byte)
    return np.bitwise_or.reduce(padded << _shifts(width), axis=1).tobytes()


def _apart(packed: Bytes, width: int) -> Bytes:
    return (packed[:, None] >> _shifts(width) & 2**width - 1).ravel()


def _shifts(width: int) -> Bytes:
    return np.arange(0, 8, width, dtype=np.uint8)
