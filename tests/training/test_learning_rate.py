"""The learning-rate schedule at its corners."""

import math

import pytest

from camoe.config.optimizer import OptimizerConfig
from camoe.training.learning_rate import schedule_factor


@pytest.mark.parametrize(
    ("decay", "step", "expected"),
    [
        ("linear", 0, 0.1),
        ("linear", 9, 1.0),
        ("linear", 49, 1.0),
        ("linear", 74, 0.6),
        ("linear", 99, 0.2),
        ("cosine", 74, 0.6),
        ("cosine", 99, 0.2),
        ("none", 99, 1.0),
    ],
)
def test_warmup_plateau_and_decay(decay: str, step: int, expected: float) -> None:
    config = OptimizerConfig(warmup_steps=10, decay=decay, decay_fraction=0.5, final_ratio=0.2)
    assert schedule_factor(config, step, 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"), [(1, 1.0), (2500, 0.505), (5000, 0.70), (10000, 0.3535), (15000, 0.49), (25000, 0.24745)]
)
def test_published_cycles_of_5k_10k_20k(step: int, expected: float) -> None:
    config = OptimizerConfig(warmup_steps=0, decay="cosine_restarts", decay_fraction=0)
    assert schedule_factor(config, step, 35_000) == pytest.approx(expected, abs=1e-6)


def test_cycles_fall_to_a_hundredth_and_jump() -> None:
    config = OptimizerConfig(
        warmup_steps=4, decay="cosine_restarts", decay_fraction=0, cycle_steps=8, cycle_growth=1.5, cycle_decay=0.5
    )
    rates = [schedule_factor(config, step, 100) for step in range(39)]
    assert rates[:4] == pytest.approx([r * w for r, w in zip(_cycle(1.0, 8)[:4], (0.25, 0.5, 0.75, 1), strict=True)])
    assert rates[4:] == pytest.approx([*_cycle(1.0, 8)[4:], *_cycle(0.5, 12), *_cycle(0.25, 18), 0.125])


def _cycle(height: float, length: int) -> list[float]:
    return [height * (0.01 + 0.99 * (1 + math.cos(math.pi * t / length)) / 2) for t in range(length)]


@pytest.mark.parametrize("total", [60, 100])
def test_warm_down_ends_with_the_run(total: int) -> None:
    """The last fifth of whatever budget there is, from the cycles' own rate down to a tenth of it."""
    shape = {"warmup_steps": 0, "decay": "cosine_restarts", "cycle_steps": 20, "cycle_growth": 1.0}
    whole = OptimizerConfig(decay_fraction=0, **shape)
    ending = OptimizerConfig(decay_fraction=0.2, final_ratio=0.1, **shape)
    share = [schedule_factor(ending, step, total) / schedule_factor(whole, step, total) for step in range(total)]
    assert share[: 4 * total // 5] == pytest.approx([1.0] * (4 * total // 5))
    assert share[9 * total // 10 - 1] == pytest.approx(0.55)
    assert share[-1] == pytest.approx(0.1)
