"""Bits per byte, against the definition written out, and an evaluation that leaves no trace."""

import json
import math
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from camoe.config.evaluation import EvaluationConfig
from camoe.data.evaluation_windows import EvaluationWindows, cut_windows
from camoe.inference.evaluation import Evaluation, evaluate
from camoe.kernels.ranks import Ranks
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.small_run import small_run

CTX_LEN = 8
# Separators stand for no byte, some tokens for several.
BYTE_LENGTHS = np.array([0, *([1, 2, 3] * 85)], dtype=np.int64)


def _tokens(count: int) -> np.ndarray:
    tokens = np.random.default_rng(0).integers(0, 256, count)
    tokens[[4, 11]] = 0
    return tokens


def _model(kind: str = "v21") -> LanguageModel:
    model = LanguageModel(small_run(kind))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def _evaluate(model: LanguageModel, windows: EvaluationWindows, batch_size: int) -> Evaluation:
    return evaluate(model, windows, batch_size, routing_statistics_of(model))


@torch.no_grad()
def _nats_and_bytes(model: LanguageModel, tokens: np.ndarray) -> tuple[float, int]:
    """One window after another, one target after another; the tail is read at its own length."""
    nats, text_bytes = 0.0, 0
    for start in range(0, len(tokens) - 1, CTX_LEN):
        window = [int(token) for token in tokens[start : start + CTX_LEN + 1]]
        logits, _ = model(torch.tensor([window[:-1]]))
        for place, target in enumerate(window[1:]):
            scores = logits[0, place].double().tolist()
            largest = max(scores)
            nats -= scores[target] - largest - math.log(sum(math.exp(score - largest) for score in scores))
            text_bytes += int(BYTE_LENGTHS[target])
    return nats, text_bytes


@pytest.mark.parametrize("count", [2, 9, 10, 21, 25])
@pytest.mark.parametrize("kind", ["v21", "off"])
def test_bits_per_byte_are_those_of_the_definition(count: int, kind: str) -> None:
    model, tokens = _model(kind), _tokens(25)[:count]
    nats, text_bytes = _nats_and_bytes(model, tokens)
    found = _evaluate(model, cut_windows(tokens, CTX_LEN, BYTE_LENGTHS), batch_size=2)
    assert (found.targets, found.text_bytes) == (count - 1, text_bytes)
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert found.loss == pytest.approx(nats / (count - 1), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / text_bytes, rel=1e-6)


def _context(target: int, tokens: np.ndarray, config: EvaluationConfig) -> list[int]:
    """What has been read before a target is predicted, by the definition of each mode."""
    separators = [place for place in range(target) if tokens[place] == 0]
    begin = separators[-1] if config.by_document and separators else 0
    if config.mode == "chunked":
        begin += (target - 1 - begin) // CTX_LEN * CTX_LEN
    if config.mode == "sliding":
        beyond = max(0, target - begin - CTX_LEN)
        begin += -(-beyond // config.step_of(CTX_LEN)) * config.step_of(CTX_LEN)
    return [int(token) for token in tokens[begin:target]]


@torch.no_grad()
@pytest.mark.parametrize("by_document", [False, True])
@pytest.mark.parametrize(("mode", "stride"), [("chunked", 8), ("sliding", 1), ("sliding", 3), ("stateful", 8)])
def test_every_mode_predicts_from_the_text_that_it_promises(mode: str, stride: int, by_document: bool) -> None:
    model, tokens = _model(), _tokens(37)
    config = EvaluationConfig(mode=mode, stride=stride, by_document=by_document)
    windows = cut_windows(tokens, CTX_LEN, BYTE_LENGTHS, config)
    found = evaluate(model, windows, 2, routing_statistics_of(model), keep_winners=True)
    for target in range(1, len(tokens)):
        trace = RoutingTrace()
        hidden, _ = model.hidden(torch.tensor([_context(target, tokens, config)]), trace=trace)
        _, loss = model.cross_entropy(hidden[:, -1:], torch.tensor([[int(tokens[target])]]))
        assert found.token_nats[target - 1] == pytest.approx(float(loss), rel=1e-4, abs=1e-5), target
        assert found.winners is not None
        assert found.winners[:, target - 1].tolist() == trace.stacked("experts")[:, 0, -1].tolist()
    assert found.nats == pytest.approx(float(found.token_nats.sum()), rel=1e-5)
    assert found.routing.metrics()["routing/tokens"] == len(tokens) - 1


@torch.no_grad()
def test_a_carried_state_takes_the_cache_of_attention_with_it() -> None:
    """Two documents at once, of which one ends earlier."""
    groups = {"model": {"layers": "top", "attention_ratio": 0.5}, "experts": {"transformer_prefix": 0}}
    model, tokens = LanguageModel(small_run("off", **groups)), _tokens(40)
    config = EvaluationConfig(mode="stateful", by_document=True)
    windows = cut_windows(tokens, CTX_LEN, BYTE_LENGTHS, config)
    found = _evaluate(model, windows, 3)
    bounds = [*windows.document_starts.tolist(), len(tokens)]
    for first, end in pairwise(bounds):
        document = torch.from_numpy(tokens[first - 1 : end].astype(np.int64))[None]
        hidden, _ = model.hidden(document[:, :-1])
        _, loss = model.cross_entropy(hidden, document[:, 1:])
        np.testing.assert_allclose(found.token_nats[first - 1 : end - 1], loss[0], rtol=1e-4, atol=1e-5)


class _OneOfThree(Ranks):
    """A rank whose share is looked at before it is summed."""

    count = 3

    def __init__(self, index: int) -> None:
        self.index = index


@pytest.mark.parametrize("mode", ["chunked", "sliding", "stateful"])
def test_ranks_share_the_targets_even_where_one_stretch_of_text_is_left_for_one_of_them(mode: str) -> None:
    model = _model()
    windows = cut_windows(_tokens(37), CTX_LEN, BYTE_LENGTHS, EvaluationConfig(mode=mode, stride=3))
    alone = _evaluate(model, windows, 2)
    shares = [evaluate(model, windows, 2, routing_statistics_of(model), _OneOfThree(index)) for index in range(3)]
    assert sum(share.nats for share in shares) == pytest.approx(alone.nats, rel=1e-12)
    assert (sum(share.token_nats for share in shares) == alone.token_nats).all()
    assert [share.nats > 0 for share in shares] == [True, mode != "stateful", mode != "stateful"]


def test_a_stride_of_the_whole_window_gives_the_same_bits() -> None:
    model, tokens = _model(), _tokens(45)
    one = _evaluate(model, cut_windows(tokens, CTX_LEN, BYTE_LENGTHS), 4)
    config = EvaluationConfig(mode="sliding", stride=CTX_LEN)
    other = _evaluate(model, cut_windows(tokens, CTX_LEN, BYTE_LENGTHS, config), 4)
    assert one.nats == other.nats
    assert (one.token_nats == other.token_nats).all()


def test_the_batch_size_does_not_matter() -> None:
    model, windows = _model(), cut_windows(_tokens(45), CTX_LEN, BYTE_LENGTHS)
    one, *others = (_evaluate(model, windows, size) for size in (1, 2, 3, 6, 100))
    assert len(windows) == 6
    for other in others:
        assert other.nats == pytest.approx(one.nats, rel=1e-6)
        assert other.routing.metrics()["routing/tokens"] == one.routing.metrics()["routing/tokens"] == 44
        assert other.record("final").keys() == one.record("final").keys()
        for name, value in other.record("final").items():
            np.testing.assert_allclose(value, one.record("final")[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_record_holds_what_was_measured() -> None:
    found = _evaluate(_model(), cut_windows(_tokens(21), CTX_LEN, BYTE_LENGTHS), 2)
    record = found.record("valid")
    assert record["valid/ppl"] == pytest.approx(math.exp(found.loss))
    assert (record["valid/loss"], record["valid/bpb"]) == (found.loss, found.bits_per_byte)
    assert record["valid/bytes"] == found.text_bytes


def _everything(model: LanguageModel) -> dict[str, Any]:
    """All that an evaluation must leave alone."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        **{key: v.clone() if isinstance(v, torch.Tensor) else dict(v) for key, v in model.state_dict().items()},
        "gradients": json.dumps([name for name, p in model.named_parameters() if p.grad is not None]),
        "training": model.training,
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": json.dumps([name, np.asarray(keys).tolist(), *rest]),
    }


@pytest.mark.parametrize("kind", ["v21", "v18", "off"])
def test_an_evaluation_changes_nothing(kind: str) -> None:
    model = _model(kind)
    before = _everything(model)
    _evaluate(model, cut_windows(_tokens(45), CTX_LEN, BYTE_LENGTHS), 3)
    after = _everything(model)
    assert before.keys() == after.keys()
    for name, value in before.items():
        same = torch.equal(value, after[name]) if isinstance(value, torch.Tensor) else value == after[name]
        assert same, name
