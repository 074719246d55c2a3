"""The fused form of time mixing has the values and gradients of the torch form, and keeps far less for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from camoe.kernels import native_build, time_mix_native
from camoe.model.time_mix import LowRanks, TimeMix

pytestmark = pytest.mark.skipif(not time_mix_native._compiled(), reason="no C++ compiler")
BOUND = 3e-6  # of float32 values and gradients, relative to the largest of the tensor

SHAPES = [
    *((1, 1, 16, 16, 0, (1, 1, 1, 1)), (2, 5, 48, 16, 1, (5, 3, 7, 33)), (3, 65, 32, 32, 2, (4, 4, 4, 4))),
    *((1, 130, 64, 64, 0, None), (2, 37, 128, 64, 1, None), (1, 17, 128, 128, 2, None)),
]
Case = tuple[TimeMix, dict[str, Tensor]]


def case(n_batch: int, length: int, width: int, size: int, layer: int, ranks: tuple[int, ...] | None) -> Case:
    """A layer with every parameter alive, and its inputs."""
    generator = torch.Generator().manual_seed(length)
    module = TimeMix(width, size, layer, 3, LowRanks(*ranks) if ranks else None)
    module.backend = "native"
    with torch.no_grad():
        for parameter in module.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.3
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    shapes = {
        "x": (n_batch, length, width),
        "v_first": (n_batch, length, width),
        "time_shift": (n_batch, width),
        "wkv_state": (n_batch, width // size, size, size),
    }
    inputs = {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if layer == 0:
        del inputs["v_first"]
    return module, inputs


def results(module: TimeMix, inputs: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs, and the gradients of inputs and parameters of a loss that uses every output."""
    module = copy.deepcopy(module).to(dtype)
    leaves = {name: x.detach().to(dtype, copy=True).requires_grad_() for name, x in inputs.items()}
    mixed = module(**leaves)
    found = {name: getattr(mixed, name) for name in ("out", "readout", "v_first", "time_shift", "wkv_state")}
    generator = torch.Generator().manual_seed(99)
    losses = [
        (output * torch.randn(output.shape, generator=generator, dtype=torch.float64).to(dtype)).sum()
        for output in found.values()
    ]
    torch.stack(losses).sum().backward()
    found |= {f"d {name}": leaf.grad for name, leaf in leaves.items()}
    found |= {f"d {name}": parameter.grad for name, parameter in module.named_parameters()}
    return {name: value.detach() for name, value in found.items()}


def require_close(module: TimeMix, inputs: dict[str, Tensor]) -> None:
    """As near to float64 as BOUND, or as twice the error of torch in float32 where a sum cancels."""
    exact, got = results(module, inputs, torch.float64), results(module, inputs, torch.float32)
    module.fused = False
    peer = results(module, inputs, torch.float32)
    assert got.keys() == exact.keys()
    for name, expected in exact.items():
        assert got[name].shape == expected.shape
        error, of_peer = (_error(found[name], expected) for found in (got, peer))
        assert error <= max(BOUND, 2 * of_peer), f"{name}: {error:.1e}, torch {of_peer:.1e}"


def _error(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-30))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The native functions called from here on."""
    called: list[str] = []
    call = time_mix_native._call

    def noted(name: str, *rest: object) -> None:
        called.append(name)
        call(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(time_mix_native, "_call", noted)
    return called


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_equal_the_torch_form_in_float64(shape: tuple, counted: list[str]) -> None:
    module, inputs = case(*shape)
    results(module, inputs, torch.float64)
    assert not counted
    require_close(module, inputs)
    assert {"time_mix_shifts_backward", "time_mix_projections_backward"} <= set(counted)


@pytest.mark.parametrize("march", ["-march=x86-64 -mavx2 -mfma", "-march=x86-64"], ids=["avx2", "sse2"])
def test_shorter_vectors_give_the_same(march: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, inputs = case(*SHAPES[1])
    with _Recompiled(march, monkeypatch, tmp_path):
        require_close(module, inputs)


class _Recompiled:
    """Inside, native code is compiled for another CPU."""

    def __init__(self, march: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.march, self.monkeypatch, self.cache = march, monkeypatch, cache

    def __enter__(self) -> None:
        flags = [flag for flag in native_build.FLAGS if flag != "-march=native"]
        self.monkeypatch.setattr(native_build, "FLAGS", (*flags, *self.march.split()))
        self.monkeypatch.setenv("CAMOE_CACHE", str(self.cache))
        self._forget()

    def __exit__(self, *_: object) -> None:
        self.monkeypatch.undo()
        self._forget()

    @staticmethod
    def _forget() -> None:
        native_build.load.cache_clear()
        native_build.native_function.cache_clear()


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts back the number of threads that the test changes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_native_passes_give_the_same_bits_with_any_number_of_threads() -> None:
    """Large enough for three threads; torch's own products are held on one."""
    found = []
    for n_threads in (1, 2, 3):
        rows = torch.Generator().manual_seed(0)
        x, last = torch.randn(5, 900, 256, generator=rows), torch.randn(5, 256, generator=rows)
        weights = TimeMix(256, 64, 1, 3)._weights()
        torch.set_num_threads(n_threads)
        sizes = (4500, 900, 256, 64)
        shifted = time_mix_native._shifted(sizes, x, last, weights)
        found.append((shifted, *time_mix_native._shifts_backward(sizes, x, last, weights, shifted)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_only_what_is_wanted_gets_gradients() -> None:
    """Frozen weights cost no product, and an output that nobody uses is no obstacle."""
    module, inputs = case(*SHAPES[4])
    exact = results(module, inputs, torch.float32)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    module.key.weight.requires_grad_()
    leaf = inputs["x"].clone().requires_grad_()
    mixed = module(leaf, *[inputs[name] for name in ("v_first", "time_shift", "wkv_state")])
    (mixed.readout.sum()).backward()
    assert module.key.weight.grad is not None
    assert leaf.grad is not None
    assert module.receptance.weight.grad is None
    assert all(value.isfinite().all() for value in exact.values())


def test_a_second_backward_pass_gives_the_same_gradients() -> None:
    module, inputs = case(*SHAPES[1])
    leaf = inputs.pop("x").requires_grad_()
    loss = module(leaf, **inputs).out.square().sum()
    first, second = (torch.autograd.grad(loss, leaf, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_a_key_of_zeros_has_the_gradient_of_the_torch_form() -> None:
    module, inputs = case(*SHAPES[1])
    with torch.no_grad():
        module.key.weight.zero_()
    exact, got = results(module, inputs, torch.float64), results(module, inputs, torch.float32)
    assert all(value.isfinite().all() for value in got.values())
    torch.testing.assert_close(got["out"].double(), exact["out"], rtol=1e-5, atol=1e-6)


def test_it_keeps_less_than_half_of_what_autograd_keeps() -> None:
    module, inputs = case(2, 128, 128, 64, 1, None)

    def kept_bytes() -> int:
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            mixed = module(**{name: x.requires_grad_() for name, x in inputs.items()})
        own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
        assert mixed.out.requires_grad
        return sum(size for place, size in kept.items() if place not in own)

    fused = kept_bytes()
    module.fused = False
    assert fused < kept_bytes() / 2
