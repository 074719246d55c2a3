"""The bridge's rows as one operation against plain autograd."""

import pytest
import torch
from torch import Tensor, nn

from camoe.kernels.bridge_rows import bridge_rows, bridge_rows_reference

C, LOW = 5, 7


def _modules(dtype: torch.dtype) -> tuple[nn.LayerNorm, Tensor, nn.LayerNorm, Tensor]:
    torch.manual_seed(0)
    norms = [nn.LayerNorm(size, dtype=dtype) for size in (C, 2 * C)]
    for norm in norms:
        for parameter in norm.parameters():
            nn.init.normal_(parameter)
    compress, to_low = torch.randn(2 * C, 2 * C, dtype=dtype), torch.randn(LOW, 2 * C, dtype=dtype)
    return norms[0], compress.requires_grad_(), norms[1], to_low.requires_grad_()


@pytest.mark.parametrize("tokens", [None, [], [2], [0, 1, 4, 4, 4]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_plain_autograd(tokens: list[int] | None, dtype: torch.dtype) -> None:
    modules = _modules(dtype)
    h, readout = (torch.randn(6, C, dtype=dtype, requires_grad=True) for _ in range(2))
    chosen = None if tokens is None else torch.tensor(tokens, dtype=torch.int64)
    ours = bridge_rows(h, readout, chosen, *modules)
    rows = slice(None) if chosen is None else chosen
    plain = bridge_rows_reference(h[rows], readout[rows], *modules)
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(ours, plain, **close)
    wanted = [h, readout, modules[1], modules[3], *modules[0].parameters(), *modules[2].parameters()]
    cotangent = torch.randn_like(plain)
    gradients = [torch.autograd.grad(out, wanted, cotangent) for out in (ours, plain)]
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, **close)


def test_autocast_decides_the_products_dtype() -> None:
    modules, (h, readout) = _modules(torch.float32), torch.randn(2, 6, C)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = bridge_rows(h, readout, None, *modules)
    assert out.dtype == torch.bfloat16
    plain = bridge_rows_reference(h, readout, *modules)
    assert float((out - plain).detach().norm() / plain.detach().norm()) < 0.02
    got, expected = (torch.autograd.grad(x.float().square().sum(), modules[1])[0] for x in (out, plain))
    assert got.dtype == torch.float32
    assert float((got - expected).norm() / expected.norm()) < 0.05


def test_only_the_compressed_vectors_are_kept() -> None:
    modules, (h, readout), kept = _modules(torch.float32), torch.randn(2, 6, C), []
    tokens = torch.arange(4)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda t: t):
        bridge_rows(h, readout, tokens, *modules)
    assert [shape for shape in kept if shape[0] == len(tokens)] == [(4,), (4, 2 * C)]
