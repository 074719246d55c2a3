"""Training in bf16: it learns as float32 does, and goes on from saved state bit for bit."""

from __future__ import annotations

import pytest
import torch

from camoe.config.run import RunConfig
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.routing.election_terms import ElectionTerms
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.training.micro_batch import MicroBatch
from camoe.training.objectives import Batch
from camoe.training.optimizers import build_optimizer, optimizer_tensors, restore_optimizer, set_rates
from camoe.training.phases import PhaseSchedule
from camoe.training.train_step import train_step
from tests.small_run import small_run

SEQUENCES, T, EXPERTS = 4, 32, 4


def _micro_batch(config: RunConfig, seed: int) -> MicroBatch:
    """Text with something to learn: every byte is followed by its successor, most of the time."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(1, 200, (SEQUENCES, 1), generator=generator)
    tokens = start + torch.arange(T + 1)
    tokens = torch.where(torch.rand(tokens.shape, generator=generator) < 0.1, 7, tokens)
    noise = torch.randn(SEQUENCES, config.model.n_layer, T, EXPERTS, generator=generator)
    return MicroBatch(Batch(tokens[:, :-1], tokens[:, 1:]), ElectionTerms(noise))


class _Training:
    """A model and its optimiser; two micro-batches make a step."""

    def __init__(self, precision: str, recompute: str = "none") -> None:
        self.config = small_run(train={"precision": precision, "recompute": recompute})
        self.model = LanguageModel(self.config)
        self.optimizer = build_optimizer(self.config.optimizer, parameter_groups(self.model), "cpu")
        self.names = {parameter: name for name, parameter in self.model.named_parameters()}

    def run(self, steps: range) -> list[float]:
        phase = PhaseSchedule(self.config.phase).at(0)
        losses = []
        for step in steps:
            set_rates(self.optimizer, 1e-2, phase)
            batches = [_micro_batch(self.config, 2 * step + part) for part in range(2)]
            statistics = routing_statistics_of(self.model)
            result = train_step(self.model, self.optimizer, batches, phase, statistics, grad_clip=1.0)
            assert result.applied
            losses.append(float(result.losses["language_model"]))
        return losses

    def take_over(self, other: _Training) -> None:
        self.model.load_state_dict(other.model.state_dict())
        restore_optimizer(self.optimizer, self.names, optimizer_tensors(other.optimizer, other.names))


@pytest.mark.slow
def test_bf16_learns_as_float32_does() -> None:
    exact, rounded = _Training("fp32").run(range(40)), _Training("bf16").run(range(40))
    assert rounded != exact
    assert exact[-1] < 0.5 * exact[0]
    assert sum(rounded[-5:]) == pytest.approx(sum(exact[-5:]), rel=0.05)
    assert {parameter.dtype for parameter in _Training("bf16").model.parameters()} == {torch.float32}


@pytest.mark.parametrize("recompute", ["none", "block"])
def test_saved_and_restored_it_goes_on_bit_for_bit(recompute: str) -> None:
    whole, first, second = (_Training("bf16", recompute) for _ in range(3))
    losses = whole.run(range(6))
    assert first.run(range(3)) == losses[:3]
    second.take_over(first)
    assert second.run(range(3, 6)) == losses[3:]
