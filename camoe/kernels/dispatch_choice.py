"""Which form of the expert stage runs: segment by segment, or all experts of a kind as grouped products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.config.refusal import not_an_option
from camoe.kernels.grouped_products import product, product_over_rows, product_with_weight
from camoe.kernels.wkv7 import BackendChoice

FORMS = ("segments", "grouped")
# torch's grouped product reads group ends on the device in bfloat16 from Hopper on; elsewhere it asks the host.
FIRST_CAPABILITY = (9, 0)
# Its rows have to begin at multiples of 16 bytes: 8 numbers of bfloat16.
ALIGNED = 8


def choose_dispatch(requested: str, device_type: str, precision: str, widths: Sequence[int]) -> BackendChoice:
    """Resolves `kernel.dispatch` for products in this precision of matrices with these widths.

    Raises ConfigError for a name that does not exist, and for `grouped` where a width forbids it.
    """
    if requested not in ("auto", *FORMS):
        raise not_an_option("kernel.dispatch", requested, ("auto", *FORMS), noun="form")
    odd = next((width for width in widths if width % ALIGNED), None)
    if requested == "grouped" and odd is not None:
        raise ConfigError(f"kernel.dispatch: grouped needs widths that are multiples of {ALIGNED}, not {odd}")
    if requested != "auto":
        return BackendChoice(requested, "requested")
    obstacle = _obstacle(device_type, precision, odd)
    if obstacle:
        return BackendChoice("segments", f"auto: {obstacle}")
    return BackendChoice("grouped", f"auto: {device_type} in {precision}, the host never waits; self-test passed")


def _obstacle(device_type: str, precision: str, odd: int | None) -> str:
    """Why grouped products are not the better form here; empty if they are."""
    if device_type != "cuda":
        return f"on {device_type} one product per expert is faster"
    if precision != "bf16":
        return f"grouped products in {precision} would wait for the host as well"
    if torch.cuda.get_device_capability() < FIRST_CAPABILITY:
        return "grouped products wait for the host on GPUs before Hopper"
    if odd is not None:
        return f"width {odd} is not a multiple of {ALIGNED}"
    return "" if grouped_products_work(device_type) else "grouped products failed their self-test"


def grouped_products_work(device_type: str) -> bool:
    """Whether the three grouped products are right for groups of odd sizes, empty ones and rows of no group."""
    counts, n_row, n_in, n_out = (5, 0, 17, 0), 32, 16, 24
    generator = torch.Generator().manual_seed(0)
    x, grad, weight = (
        torch.randn(shape, generator=generator).bfloat16().to(device_type)
        for shape in ((n_row, n_in), (n_row, n_out), (len(counts), n_out, n_in))
    )
    x[sum(counts) :], grad[sum(counts) :] = torch.nan, torch.nan
    ends = torch.tensor(counts).cumsum(0).to(device_type, torch.int32)
    pieces = list(zip(x.split([*counts, n_row - sum(counts)]), grad.split([*counts, n_row - sum(counts)]), strict=True))
    expected = (
        torch.cat([rows @ matrix.T for (rows, _), matrix in zip(pieces, weight, strict=False)]),
        torch.cat([rows @ matrix for (_, rows), matrix in zip(pieces, weight, strict=False)]),
        torch.stack([out.T @ rows for rows, out in pieces[:-1]]),
    )
    results = (product(x, weight, ends), product_with_weight(grad, weight, ends), product_over_rows(grad, x, ends))
    return all(map(_close, results, expected))


def _close(result: Tensor, expected: Tensor) -> bool:
    """To bfloat16's rounding, in the rows that are expected."""
    return torch.allclose(result[: len(expected)].float(), expected.float(), rtol=0.02, atol=0.05)
