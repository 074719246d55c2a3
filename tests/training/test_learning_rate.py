"""The learning-rate schedule at its corners."""

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
