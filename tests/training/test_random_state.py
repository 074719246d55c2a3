"""Global generators on a machine whose GPUs are not those of the checkpoint."""

import warnings

import pytest
import torch

from camoe.training.random_state import random_state, restore_random_state


@pytest.mark.parametrize(("saved", "here"), [(3, 1), (1, 3), (2, 2), (2, 0), (0, 2)])
def test_gpus_on_both_sides_are_restored(monkeypatch: pytest.MonkeyPatch, saved: int, here: int) -> None:
    tensors, values = random_state()
    tensors = {"torch": tensors["torch"]} | {f"cuda.{index}": torch.tensor([index]) for index in range(saved)}
    restored: dict[int, int] = {}

    def set_state(state: torch.Tensor, index: int) -> None:
        assert 0 <= index < here, "invalid device ordinal"
        restored[index] = int(state)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: here > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: here)
    monkeypatch.setattr(torch.cuda, "set_rng_state", set_state)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        restore_random_state(tensors, values)
    assert restored == {index: index for index in range(min(saved, here))}
    expected = [] if saved == here else [f"random generators of {saved} GPUs were saved, {here} are here"]
    assert [str(warning.message) for warning in said] == expected
