"""What the probe notes, token by token against the model's own elections."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camoe.config.run import RunConfig
from camoe.data.evaluation_windows import cut_windows
from camoe.inference.evaluation import evaluate
from camoe.inference.routing_probe import RoutingProbe
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.tracking.routing_statistics import routing_statistics_of
from tests.small_run import small_run

CTX_LEN = 8
TOKENS = np.random.default_rng(3).integers(0, 9, 75).astype(np.uint16)
WINDOWS = cut_windows(TOKENS, CTX_LEN, np.ones(256, dtype=np.int64))  # 10 windows, the last of 2 targets


@pytest.mark.parametrize("batch_size", [1, 3, 20])
@pytest.mark.parametrize("wanted", [1, 24, 40, 1000])
@torch.no_grad()
def test_winners_and_nats_are_those_of_each_window_by_itself(wanted: int, batch_size: int) -> None:
    model, sample = LanguageModel(small_run("v21")), WINDOWS.spread(6)
    probe = RoutingProbe.within(sample, wanted)
    reading = probe.reading(evaluate(model, sample, batch_size, routing_statistics_of(model), keep_winners=True))
    text, at = probe.text(), 0
    for start in probe.windows.starts:
        window = torch.tensor(TOKENS[start : start + CTX_LEN + 1].astype(np.int64))[None]
        inputs, targets = window[:, :-1], window[:, 1:]
        trace, here = RoutingTrace(), slice(at, at + inputs.numel())
        hidden, _ = model.hidden(inputs, trace=trace)
        assert reading["winners"][:, here].tolist() == trace.stacked("experts")[:, 0].tolist()
        np.testing.assert_allclose(reading["nats"][here], model.cross_entropy(hidden, targets)[1][0], rtol=1e-5)
        assert text["input"][here].tolist() == inputs[0].tolist()
        assert text["target"][here].tolist() == targets[0].tolist()
        documents = [int((TOKENS[1 : start + 1 + i] == 0).sum()) for i in range(inputs.numel())]
        assert text["document"][here].tolist() == documents
        assert text["occurrences"][here].tolist() == [int((i == TOKENS).sum()) for i in inputs[0].numpy()]
        at += inputs.numel()
    assert at == len(text["input"]) == reading["winners"].shape[1]
    assert at <= max(wanted, CTX_LEN)
    assert reading["winners"].dtype == np.int8


def _text(config: RunConfig) -> dict[str, list]:
    windows = cut_windows(TOKENS, config.train.ctx_len, np.ones(256, dtype=np.int64))
    probe = RoutingProbe.within(windows.spread(config.train.eval_sequences), config.tracking.probe_tokens)
    return {name: value.tolist() for name, value in probe.text().items()}


def test_all_runs_of_a_text_note_the_same_tokens() -> None:
    other = small_run("calibrated", seeds={"init": 1, "data": 2, "router_noise": 3}, experts={"rwkv_ffn": 7})
    assert _text(small_run("off")) == _text(other)


def test_many_experts_have_numbers_of_their_own() -> None:
    model = LanguageModel(small_run("off", experts={"rwkv_ffn": 150}, model={"n_layer": 1}))
    found = evaluate(model, WINDOWS, 4, routing_statistics_of(model), keep_winners=True)
    assert found.winners is not None
    assert found.winners.min() >= 0
    assert found.winners.max() > 127
