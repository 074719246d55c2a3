"""Bits without gaps: exactly as many as asked for, and all of them come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camoe.inference.export.code_packing import PACKED, pack_codes, packed_size, unpack_codes, widths_of


@st.composite
def codes(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.sampled_from(sorted(PACKED)))
    largest = 2 ** (bits - 1) - 1
    return draw(st.lists(st.integers(-largest, largest), min_size=1, max_size=70)), bits


@given(drawn=codes(), layout=st.sampled_from(["packed", "bytes"]))
def test_codes_come_back_from_their_bits(drawn: tuple[list[int], int], layout: str) -> None:
    values, bits = drawn
    widths = widths_of(bits, layout)
    packed = pack_codes(np.array(values, dtype=np.int8), bits, widths)
    assert len(packed) == packed_size(len(values), widths)
    assert unpack_codes(packed, len(values), bits, widths).tolist() == values


@pytest.mark.parametrize("bits", sorted(PACKED))
def test_the_layout_is_the_documented_one(bits: int) -> None:
    """Written out as strings of bits, the last code first, because the lower bits of a byte are filled first."""
    largest = 2 ** (bits - 1) - 1
    values = np.random.default_rng(0).integers(-largest, largest + 1, 21)
    words, place, expected = [f"{value + largest:0{bits}b}" for value in values], 0, b""
    for width in PACKED[bits]:
        field = "".join(word[place : place + width] for word in reversed(words))
        expected += int(field, 2).to_bytes(-(-len(field) // 8), "little")
        place += width
    assert place == bits
    assert pack_codes(values.astype(np.int8), bits, PACKED[bits]) == expected


def test_eight_codes_take_as_many_bytes_as_a_code_has_bits() -> None:
    assert [packed_size(8_000, PACKED[bits]) for bits in (4, 5, 6, 8)] == [4_000, 5_000, 6_000, 8_000]
