"""Files with some bytes changed, cut or added."""

from __future__ import annotations

from hypothesis import strategies as st

from camoe.config import ConfigError

Damage = tuple[list[tuple[float, int]], float, bytes]


def damages() -> st.SearchStrategy[Damage]:
    """Bytes to set at shares of the length, the share of the file that stays, and what is added behind it."""
    places = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
    return st.tuples(
        st.lists(places, max_size=8), st.sampled_from([1.0, 1.0, 0.99, 0.5, 0.1, 0.0]), st.binary(max_size=8)
    )


def damaged(content: bytes, damage: Damage) -> bytes:
    """The content after it."""
    places, share, more = damage
    changed = bytearray(content)
    for place, value in places:
        changed[int(place * len(changed))] = value
    return bytes(changed[: round(share * len(changed))]) + more


def refuse_more_lines(refusal: ConfigError) -> None:
    """Fails where a refusal says nothing, or more than a line."""
    assert len(str(refusal).strip().split("\n")) == 1, refusal
    assert str(refusal).strip()
