"""Rows that go to their experts' owners and come back give what running all experts in place gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from camoe.kernels.row_exchange import RowExchange
from camoe.model.expert_parallel import owned_experts
from camoe.model.language_model import LanguageModel
from camoe.routing.election_terms import ElectionTerms
from tests.small_run import small_run


class Alone(RowExchange):
    """The only owner: what goes to it stays."""

    index, count = 0, 1

    def numbers(self, own: Tensor) -> Tensor:
        return own

    def rows(self, rows: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        assert list(sent) == list(received) == [len(rows)]
        return rows.clone()


class Second(Alone):
    """Of three owners the second."""

    index, count = 1, 3


EXACT = {"rtol": 1e-9, "atol": 1e-12}
MIXES: dict[str, dict[str, Any]] = {
    "prefix": {},
    "rwkv": {"experts": {"rwkv_ffn": 3, "transformer_prefix": 0}},
    "idle": {"router": {"capacity": {"mode": "drop", "factor": 0.5}}},
}


@pytest.mark.parametrize("dispatch", ["segments", "grouped"])
@pytest.mark.parametrize("mix", MIXES)
def test_values_and_gradients_are_those_of_experts_in_place(mix: str, dispatch: str) -> None:
    exact = dispatch == "segments"  # torch's grouped products know no float64
    model = LanguageModel(small_run("off", **MIXES[mix])).to(torch.float64 if exact else torch.float32)
    model.use_dispatch(dispatch)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():  # experts start without effect
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    tokens = torch.randint(256, (3, 11), generator=generator)
    found = []
    for exchange in (None, Alone()):
        model.use_exchange(exchange)
        logits, _ = model(tokens, terms=ElectionTerms(training=True))
        gradients = torch.autograd.grad(logits.square().mean(), list(model.parameters()), allow_unused=True)
        found.append([logits, *(torch.zeros(()) if gradient is None else gradient for gradient in gradients)])
    for here, exchanged in zip(*found, strict=True):
        torch.testing.assert_close(exchanged, here, **(EXACT if exact else {"rtol": 1e-4, "atol": 1e-6}))


def test_owners_have_equally_many_experts_side_by_side() -> None:
    assert list(owned_experts(Second(), 6)) == [2, 3]
