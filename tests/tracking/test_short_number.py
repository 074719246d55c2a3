"""Numbers in five characters."""

import pytest

from camoe.tracking.short_number import short_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1k"),
        (12_345, "12.3k"),
        (999_553_024, "1G"),
        (-1.5e12, "-1.5T"),
        (999.4e6, "999M"),
    ],
)
def test_three_digits_and_a_unit(number: float, text: str) -> None:
    assert short_number(number) == text
