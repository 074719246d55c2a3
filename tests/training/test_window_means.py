"""Means of a log window, also of one that was stopped in the middle."""

import pytest
import torch

from camoe.training.window_means import WindowMeans

CPU = torch.device("cpu")


def _add(means: WindowMeans, **values: float) -> None:
    means.add({name: torch.tensor(value) for name, value in values.items()})


def test_every_scalar_is_averaged_over_the_steps_that_had_it() -> None:
    means = WindowMeans()
    _add(means, loss=1.0, grad=5.0)
    _add(means, loss=2.0)
    _add(means, loss=6.0, grad=7.0)
    assert means.means() == {"loss": 3.0, "grad": 6.0}


def test_a_new_window_begins_empty() -> None:
    means = WindowMeans()
    _add(means, loss=1.0)
    means.reset()
    assert means.means() == {}
    _add(means, loss=4.0)
    assert means.means() == {"loss": 4.0}


def test_a_window_goes_on_from_a_state_taken_in_its_middle() -> None:
    means, resumed = WindowMeans(), WindowMeans()
    _add(means, loss=1.0, grad=5.0)
    _add(means, loss=2.5)
    state = means.state()
    _add(means, loss=100.0)  # what happens after the state was taken is not in it
    resumed.load_state(state, CPU)
    assert resumed.means() == {"loss": 1.75, "grad": 5.0}
    _add(resumed, loss=0.5, price=2.0)
    assert resumed.means() == pytest.approx({"loss": 4 / 3, "grad": 5.0, "price": 2.0})


def test_many_small_values_are_summed_without_rounding_away_and_without_a_graph() -> None:
    means, value = WindowMeans(), torch.tensor(0.1, requires_grad=True)
    means.add({"loss": torch.tensor(1e8)})
    for _ in range(1000):
        means.add({"loss": value})
    assert means.means()["loss"] * 1001 == pytest.approx(1e8 + 100, abs=1e-2)
    assert not any(tensor.requires_grad for tensor in means.state().values())


def test_a_value_changed_in_place_afterwards_is_not_changed_in_the_window() -> None:
    means, value = WindowMeans(), torch.tensor(3.0, dtype=torch.float64)
    means.add({"loss": value})
    value.zero_()
    assert means.means() == {"loss": 3.0}
