"""The choice of how float32 products are computed: a rule that a self-test can overrule."""

from __future__ import annotations

import pytest
import torch

from camoe.kernels import matmul_precision as chosen
from camoe.kernels.matmul_precision import (
    ACCURATE,
    PRECISIONS,
    WORTHWHILE,
    ProductSize,
    choose_matmul_precision,
    matmul_precision,
    product_error,
)

LARGE, SMALL = ProductSize(2048, 256), ProductSize(1024, 128)


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "cpu_vendor", lambda: "AuthenticAMD")
    monkeypatch.setattr(chosen, "product_error", lambda *_: 3e-7)


def test_highest_passes_the_self_test_and_bfloat16_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert product_error("highest", "cpu") < ACCURATE
    exact = torch.Tensor.__matmul__

    def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return exact(a, b) if a.dtype == torch.float64 else exact(a.bfloat16(), b.bfloat16()).float()

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert product_error("highest", "cpu") > 100 * ACCURATE


@pytest.mark.usefixtures("amd")
def test_auto_takes_medium_only_for_large_products_on_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SMALL.multiply_adds < WORTHWHILE <= LARGE.multiply_adds
    assert choose_matmul_precision("auto", "cpu", LARGE).name == "medium"
    assert choose_matmul_precision("auto", "cpu", SMALL).name == "highest"
    assert choose_matmul_precision("auto", "cuda", LARGE).name == "highest"
    monkeypatch.setattr(chosen, "cpu_vendor", lambda: "GenuineIntel")
    assert choose_matmul_precision("auto", "cpu", LARGE).name == "highest"


@pytest.mark.usefixtures("amd")
def test_a_failed_self_test_overrules_the_rule_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "product_error", lambda *_: 2e-3)
    choice = choose_matmul_precision("auto", "cpu", LARGE)
    assert choice.name == "highest"
    assert "2e-03" in choice.reason


@pytest.mark.parametrize("name", PRECISIONS)
def test_what_is_set_is_taken_with_its_error(name: str) -> None:
    choice = choose_matmul_precision(name, "cpu", SMALL)
    assert choice.name == name
    assert "against float64" in choice.reason


def test_the_switch_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    with matmul_precision("medium"):
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == before
