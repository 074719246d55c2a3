"""Loss by position, against targets counted one by one."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from camoe.config.evaluation import EvaluationConfig
from camoe.data.evaluation_windows import cut_windows
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.inference.position_loss import PositionLoss
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.inference.test_continuation_scores import the_model

CTX_LEN = 8


def scored(mode: str, by_document: bool = False) -> Evaluation:
    tokens = np.random.default_rng(0).integers(0, 256, 45)
    tokens[[4, 11]] = 0
    config = EvaluationConfig(mode=mode, stride=3, by_document=by_document)
    model = the_model()
    windows = cut_windows(tokens, CTX_LEN, np.ones(256, dtype=np.int64), config)
    return evaluate(model, windows, 4, routing_statistics_of(model))


@pytest.mark.parametrize(("mode", "by_document"), [("chunked", False), ("chunked", True), ("sliding", False)])
def test_every_target_counts_at_its_place_in_its_window(mode: str, by_document: bool) -> None:
    result = scored(mode, by_document)
    nats, number = defaultdict(list), 0
    for window in range(len(result.windows)):
        for target in range(result.windows.firsts[window], result.windows.ends[window]):
            nats[target - result.windows.starts[window] - 1].append(result.token_nats[number])
            number += 1
    found = PositionLoss.of(result)
    assert found.targets.tolist() == [len(nats[position]) for position in range(CTX_LEN)]
    expected = [np.mean(nats[position]) if nats[position] else np.nan for position in range(CTX_LEN)]
    np.testing.assert_allclose(found.nats, expected, rtol=1e-6)
    assert np.nansum(found.nats * found.targets) == pytest.approx(result.nats, rel=1e-6)


def test_bands_double_and_hold_every_target() -> None:
    result = scored("chunked")
    bands = PositionLoss.of(result).bands()
    assert [(band["first"], band["last"]) for band in bands] == [(0, 0), (1, 1), (2, 3), (4, 7)]
    assert sum(band["targets"] for band in bands) == result.targets
    assert sum(band["targets"] * band["nats"] for band in bands) == pytest.approx(result.nats, rel=1e-6)
