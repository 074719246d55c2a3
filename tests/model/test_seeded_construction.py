"""Initial values by name, without a trace on any other generator."""

import pytest
import torch

from camoe.model.seeded_construction import seeded


def test_draws_depend_on_seed_and_name_alone() -> None:
    def drawn(seed: int, name: str) -> list[float]:
        torch.rand(3)  # whatever was drawn before does not matter
        with seeded(seed, name):
            return torch.rand(4).tolist()

    assert drawn(0, "a") == drawn(0, "a")
    assert drawn(0, "a") != drawn(0, "b")
    assert drawn(0, "a") != drawn(1, "a")


def test_the_global_generator_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    with seeded(0, "a"):
        torch.rand(4)
    assert torch.equal(before, torch.get_rng_state())


def test_generators_of_gpus_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    reseeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    with seeded(0, "a"):
        torch.rand(1)
    assert reseeded == []
