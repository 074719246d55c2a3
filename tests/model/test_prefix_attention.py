"""The core of prefix attention: finite differences, extremes, and how little it keeps for the backward pass."""

import pytest
import torch
from torch import Tensor, nn

from camoe.model.prefix_attention import attend
from camoe.model.prefix_map import PrefixMap
from tests.model.test_low_rank_prefix import by_factors, materialised, problem


def _map(channels: int, rows: int, rank: int, position: float = 0.5) -> PrefixMap:
    torch.manual_seed(0)
    up, positions = torch.randn(channels, rank).double(), position * torch.randn(rows, channels).double()
    return PrefixMap.of(up, positions, nn.LayerNorm(channels).double())


def test_gradients_are_the_slopes() -> None:
    shared = _map(6, 3, 2)
    projected, low = torch.randn(2, 4, 5, dtype=torch.float64), torch.randn(2, 3, 2, dtype=torch.float64)
    gram, cross, energy = shared.gram, shared.cross.clone(), shared.energy.clone()

    def coefficients(projected: Tensor, low: Tensor, cross: Tensor, energy: Tensor) -> Tensor:
        return attend(projected, low, PrefixMap(shared.basis, gram, cross, energy, shared.eps))

    inputs = [x.requires_grad_() for x in (projected, low, cross, energy)]
    assert torch.autograd.gradcheck(coefficients, inputs)


def test_the_deviation_is_that_of_layer_norm() -> None:
    """With one row the softmax is 1, so the last coefficient is the inverse deviation itself."""
    channels, rank = 10, 3
    torch.manual_seed(0)
    up, position, norm = torch.randn(channels, rank).double(), torch.randn(1, channels).double(), nn.LayerNorm(channels)
    low = torch.randn(4, 1, rank, dtype=torch.float64)
    inverse = attend(torch.zeros(4, 1, rank + 1).double(), low, PrefixMap.of(up, position, norm.double()))[..., -1]
    row = low[:, 0] @ up.T + position
    torch.testing.assert_close(inverse[:, 0], (row.var(-1, correction=0) + norm.eps).rsqrt())


def test_a_row_that_cancels_its_position_stays_finite() -> None:
    """The variance is a small difference of large numbers there; rounding must not make it negative."""
    torch.manual_seed(0)
    up = 100 * torch.randn(64, 4)
    low = torch.randn(50, 1, 4)
    for token in low:
        shared = PrefixMap.of(up, -(token @ up.T), nn.LayerNorm(64))
        assert bool(attend(torch.randn(1, 2, 5), token[None], shared).isfinite().all())


@pytest.mark.parametrize("shape", [(256, 64, 8, 16), (192, 64, 12, 8)])
def test_it_saves_at_most_a_sixth_of_what_the_materialised_form_saves(shape: tuple[int, int, int, int]) -> None:
    saved = {}
    for form in (by_factors, materialised):
        p = problem(256, shape, torch.float32)
        for x in p.wanted():
            x.requires_grad_()
        storages: dict[int, int] = {}

        def count(x: Tensor, storages: dict[int, int] = storages) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            form(p)
        weights = {x.untyped_storage().data_ptr() for x in (*p.bridge.parameters(), p.key, p.value)}
        saved[form] = sum(size for place, size in storages.items() if place not in weights)
    assert saved[by_factors] * 6 <= saved[materialised]
