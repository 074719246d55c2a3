"""Which form of the expert stage is chosen, and the self-test that can overrule it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from camoe.config import ConfigError
from camoe.kernels import dispatch_choice, grouped_products
from camoe.kernels.dispatch_choice import choose_dispatch, grouped_products_work

WIDTHS = (256, 1024)


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(dispatch_choice, "grouped_products_work", lambda _: True)


def test_the_cpu_runs_segments() -> None:
    choice = choose_dispatch("auto", "cpu", "bf16", WIDTHS)
    assert (choice.name, choice.reason) == ("segments", "auto: on cpu one product per expert is faster")


@pytest.mark.parametrize("form", ["segments", "grouped"])
def test_a_request_is_obeyed(form: str) -> None:
    assert choose_dispatch(form, "cpu", "fp32", WIDTHS).name == form


@pytest.mark.usefixtures("hopper")
def test_bfloat16_on_hopper_runs_grouped() -> None:
    assert choose_dispatch("auto", "cuda", "bf16", WIDTHS).name == "grouped"


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("precision", "widths", "capability", "works", "reason"),
    [
        ("fp32", WIDTHS, (9, 0), True, "fp32"),
        ("bf16", (256, 1020), (9, 0), True, "1020"),
        ("bf16", WIDTHS, (8, 0), True, "before Hopper"),
        ("bf16", WIDTHS, (9, 0), False, "self-test"),
    ],
)
def test_obstacles_lead_to_segments_and_are_named(
    precision: str,
    widths: tuple[int, ...],
    capability: tuple[int, int],
    works: bool,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(dispatch_choice, "grouped_products_work", lambda _: works)
    choice = choose_dispatch("auto", "cuda", precision, widths)
    assert choice.name == "segments"
    assert reason in choice.reason


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"kernel\.dispatch.*multiples of 8, not 1020"):
        choose_dispatch("grouped", "cpu", "bf16", (256, 1020))
    with pytest.raises(ConfigError, match=r"kernel\.dispatch.*'group'.*grouped"):
        choose_dispatch("group", "cpu", "bf16", WIDTHS)


def test_the_self_test_passes_here_and_notices_a_gradient_of_an_empty_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grouped_products_work("cpu")
    grouped_mm = F.grouped_mm

    def leaking(a: Tensor, b: Tensor, *, offs: Tensor) -> Tensor:
        out = grouped_mm(a, b, offs=offs)
        return out + 1 if b.dim() == 2 else out

    monkeypatch.setattr(grouped_products.F, "grouped_mm", leaking)
    assert not grouped_products_work("cpu")
