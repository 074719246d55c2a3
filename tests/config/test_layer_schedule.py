"""Layer schedules: the index sets of the published description, and a refusal wherever the count would be another."""

from __future__ import annotations

import pytest

from camoe.config import ConfigError
from camoe.config.layer_schedule import scheduled_layers
from camoe.config.model import ModelConfig

GOLDEN = [
    ("top", 24, [*range(18, 24)]),
    ("top", 32, [*range(24, 32)]),
    ("top", 48, [*range(36, 48)]),
    ("interleave", 24, [3, 7, 11, 15, 19, 23]),
    ("interleave", 32, [3, 7, 11, 15, 19, 23, 27, 31]),
    ("interleave", 48, [3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47]),
    ("hybrid", 24, [3, 7, 11, 21, 22, 23]),
    ("hybrid", 32, [3, 7, 11, 15, 28, 29, 30, 31]),
    ("hybrid", 48, [3, 7, 11, 15, 19, 23, 42, 43, 44, 45, 46, 47]),
]
WRONG = {
    "a part of a layer": (("top", 26, 0.25, 4, None), ("model.attention_ratio: 0.25 of model.n_layer 26 is 6.5",)),
    "no layer": (("top", 3, 0.001, 4, None), ("attention_ratio: 0.001", "nearest is 0.333333")),
    "another period": (("interleave", 24, 0.25, 3, None), ("attention_period: every 3 of 24", "8", "period 4 fits")),
    "no period at all": (("interleave", 24, 5 / 24, 4, None), ("attention_period: every 4 of 24", "no period")),
    "hybrid collides": (("hybrid", 24, 0.5, 4, None), ("attention_period", "6 spaced", "top 6 of 24", "at most 3")),
    "hybrid out of layers": (("hybrid", 8, 0.5, 5, None), ("attention_period", "2 spaced", "at most 3")),
    "nothing named": (("explicit", 4, 0.25, 4, None), ("attention_indices: layers=explicit needs", "all_rwkv")),
    "empty": (("explicit", 4, 0.25, 4, []), ("attention_indices: layers=explicit needs",)),
    "no such layer": (("explicit", 4, 0.25, 4, [1, 4]), ("attention_indices: no layer 4; must be 0 to 3",)),
    "counted from the end": (("explicit", 4, 0.25, 4, [-1]), ("attention_indices: no layer -1",)),
    "twice": (("explicit", 4, 0.25, 4, [1, 1]), ("attention_indices: [1, 1] names a layer twice",)),
}


@pytest.mark.parametrize(("schedule", "n_layer", "expected"), GOLDEN)
def test_a_quarter_of_the_layers(schedule: str, n_layer: int, expected: list[int]) -> None:
    assert list(scheduled_layers(schedule, n_layer, 0.25, 4, None)) == expected
    assert list(ModelConfig(n_layer=n_layer, layers=schedule).attention_layers) == expected


def test_other_schedules() -> None:
    assert scheduled_layers("all_rwkv", 7, 0.25, 4, None) == ()
    assert scheduled_layers("explicit", 7, 0.25, 4, [5, 0]) == (0, 5)
    assert scheduled_layers("top", 3, 1.0, 4, None) == (0, 1, 2)
    assert scheduled_layers("hybrid", 36, 0.25, 4, None) == (3, 7, 11, 15, 31, 32, 33, 34, 35)  # the odd one on top
    assert scheduled_layers("hybrid", 4, 0.25, 4, None) == (3,)
    assert scheduled_layers("top", 24, 0.3333, 4, None) == tuple(range(16, 24))


@pytest.mark.parametrize("case", WRONG)
def test_a_count_that_cannot_be_met_is_refused(case: str) -> None:
    arguments, pieces = WRONG[case]
    with pytest.raises(ConfigError) as refusal:
        scheduled_layers(*arguments)
    text = str(refusal.value)
    assert "\n" not in text
    for piece in pieces:
        assert piece in text


@pytest.mark.parametrize(("schedule", "largest"), [("top", 40), ("interleave", 40), ("hybrid", 40)])
def test_every_depth_gives_the_exact_count_or_is_refused(schedule: str, largest: int) -> None:
    for n_layer in range(1, largest):
        for count in range(1, n_layer + 1):
            for period in (1, 2, 3, 4, 7):
                try:
                    layers = scheduled_layers(schedule, n_layer, count / n_layer, period, None)
                except ConfigError:
                    continue
                assert len(set(layers)) == len(layers) == count
                assert set(layers) <= set(range(n_layer))
