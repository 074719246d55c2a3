"""Every causal router inside the model: streaming, causality, both dispatch forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camoe.config.router import NOT_CAUSAL
from camoe.model.language_model import LanguageModel
from camoe.model.recurrent_state import RecurrentState
from camoe.model.routing_trace import RoutingTrace
from tests.router_kinds import CASES, alive, router_run

T = 17
TOKENS = torch.randint(0, 256, (2, T), generator=torch.Generator().manual_seed(0))
CAUSAL = [(kind, top_k) for kind, top_k in CASES if kind not in NOT_CAUSAL]


def _in_pieces(model: LanguageModel, pieces: list[int]) -> Tensor:
    state: RecurrentState | None = None
    parts = []
    for piece in TOKENS.split(pieces, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    return torch.cat(parts, 1)


@pytest.mark.parametrize(("kind", "top_k"), CAUSAL)
@torch.no_grad()
def test_streaming_equals_the_full_pass_and_grouped_equals_segments(kind: str, top_k: int) -> None:
    model = alive(router_run(kind, top_k))
    full = model(TOKENS)[0]
    close = 1e-5 * max(1.0, float(full.abs().max()))
    for pieces in ([1] * T, [7, 1, 9]):
        assert float((_in_pieces(model, pieces) - full).abs().max()) < close
    assert float((model(TOKENS[:1])[0] - full[:1]).abs().max()) < close  # sequences do not see each other
    if kind == "dense":
        return  # as wide as it costs, which is no multiple of what grouped products want
    model.use_dispatch("grouped")
    assert float((model(TOKENS)[0] - full).abs().max()) < close


@pytest.mark.parametrize(("kind", "top_k"), CAUSAL)
@torch.no_grad()
def test_no_token_moves_an_earlier_one(kind: str, top_k: int) -> None:
    model, at = alive(router_run(kind, top_k)), 9
    changed = TOKENS.clone()
    changed[:, at] = (changed[:, at] + 1) % 256
    traces = RoutingTrace(), RoutingTrace()
    before, after = model(TOKENS, trace=traces[0])[0], model(changed, trace=traces[1])[0]
    assert float((before[:, :at] - after[:, :at]).abs().max()) < 1e-5
    assert float((before[:, at:] - after[:, at:]).abs().max()) > 1e-3
    winners = [trace.decision().experts[:, :, :at] for trace in traces]
    assert torch.equal(*winners)
