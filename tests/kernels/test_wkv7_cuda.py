"""The CUDA backend computes what the loop computes: its source emulated on the CPU, and on a GPU where there is one.

The emulation proves indices, barriers and arithmetic; not the memory model, and nothing about time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.kernels import wkv7_cuda
from camoe.kernels.wkv7 import wkv7
from tests.kernels.emulated_cuda import emulate, emulated_library, needs_emulation
from tests.kernels.wkv7_cases import make_inputs, outputs_and_gradients

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
# Head size, blocks per head forward and backward: all that exist and fit into shared memory.
EVERY_SPLIT = [
    (16, 1, 1),
    (32, 1, 1),
    (32, 1, 2),
    *((64, n, n) for n in (1, 2, 4)),
    (128, 4, 8),
    (128, 8, 16),
    (128, 16, 8),
]
BF16_ROUNDING = 2**-8  # half of the last of eight digits

NAMES = ("y", "sa", "final", *(f"gradient of {name}" for name in ("r", "w", "k", "v", "a", "b", "state")))

loop = partial(wkv7, backend="reference")
chunked = partial(wkv7, backend="chunked")
Cuda = Callable[..., tuple[Tensor, Tensor, Tensor]]


@pytest.fixture(params=[pytest.param("emulated", marks=needs_emulation), pytest.param("gpu", marks=needs_cuda)])
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    """The backend for tensors on the CPU, whatever computes; results come back to the CPU."""
    device = "cpu" if request.param == "emulated" else "cuda"
    if request.param == "emulated":
        emulate(monkeypatch, emulated_library())

    def compute(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, sa, final = wkv7(*(x.to(device) for x in inputs), backend="cuda")
        return y.cpu(), sa.cpu(), final.cpu()

    yield compute
    if request.param == "gpu":
        torch.cuda.synchronize()


@pytest.fixture
def force_split(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def force(forward: int, backward: int) -> None:
        monkeypatch.setattr(
            wkv7_cuda._Functions, "split", lambda _self, is_backward, _x: (forward, backward)[is_backward]
        )

    return force


def small_inputs(n_tokens: int, head_size: int, kind: str = "usual") -> list[Tensor]:
    return make_inputs(n_tokens, head_size, kind=kind, n_batch=1 if head_size == 128 else 2)


def narrowed(inputs: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """What the kernels may read as bf16, in `dtype`."""
    r, w, k, v, a, b, state = inputs
    return [r.to(dtype), w, *(x.to(dtype) for x in (k, v, a, b)), state]


def check_against_loop(cuda: Cuda, inputs: list[Tensor]) -> None:
    """Outputs and gradients: float32 within 1e-6 of the largest magnitude, bf16 one rounding more."""
    generator = torch.Generator().manual_seed(7)
    results, weights = [], []
    for operation, double in ((cuda, False), (loop, True)):
        leaves = [(x.double() if double else x).detach().clone().requires_grad_() for x in inputs]
        outputs = operation(*leaves)
        if not weights:
            weights = [torch.randn(x.shape, generator=generator).to(x) for x in outputs]
        gradients = torch.autograd.grad(
            outputs, leaves, [weight.to(x) for weight, x in zip(weights, outputs, strict=True)]
        )
        results.append([x.detach() for x in (*outputs, *gradients)])
    for name, got, exact in zip(NAMES, *results, strict=True):
        allowed = 1e-6 * exact.abs().max() + (BF16_ROUNDING if got.dtype == torch.bfloat16 else 0) * exact.abs()
        assert ((got - exact).abs() <= allowed).all(), name


@pytest.mark.parametrize("kind", ["usual", "repeated", "forgetting"])
@pytest.mark.parametrize("head_size", [16, 32, 64, 128])
@pytest.mark.parametrize("n_tokens", [1, 16, 17, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_as_good_as_its_types_can_be(
    cuda: Cuda, dtype: torch.dtype, n_tokens: int, head_size: int, kind: str
) -> None:
    check_against_loop(cuda, narrowed(small_inputs(n_tokens, head_size, kind), dtype))


@pytest.mark.parametrize(("head_size", "forward", "backward"), EVERY_SPLIT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_row_split(
    cuda: Cuda,
    force_split: Callable[[int, int], None],
    dtype: torch.dtype,
    head_size: int,
    forward: int,
    backward: int,
) -> None:
    force_split(forward, backward)
    check_against_loop(cuda, narrowed(small_inputs(19, head_size), dtype))


def test_bf16_comes_back_as_bf16(cuda: Cuda) -> None:
    leaves = [x.requires_grad_() for x in narrowed(small_inputs(3, 16), torch.bfloat16)]
    outputs = cuda(*leaves)
    assert [x.dtype for x in outputs] == [torch.bfloat16, torch.bfloat16, torch.float32]


@pytest.mark.parametrize("head_size", [16, 64])
@pytest.mark.parametrize("n_tokens", [1, 16, 40])
def test_without_gradients_the_outputs_are_the_same_bits(cuda: Cuda, n_tokens: int, head_size: int) -> None:
    inputs = small_inputs(n_tokens, head_size)
    expected = cuda(*(x.clone().requires_grad_() for x in inputs))
    assert all(torch.equal(x, y) for x, y in zip(cuda(*inputs), expected, strict=True))


def test_a_long_sequence_stays_accurate(cuda: Cuda) -> None:
    check_against_loop(cuda, make_inputs(300, 32, n_batch=1))


def test_no_state_is_the_zero_state(cuda: Cuda) -> None:
    *tokens, state = small_inputs(9, 16)
    for got, expected in zip(cuda(*tokens), cuda(*tokens, torch.zeros_like(state)), strict=True):
        assert torch.equal(got, expected)


def test_pieces_with_a_carried_state_equal_the_whole(cuda: Cuda) -> None:
    *tokens, state = small_inputs(31, 64)
    whole = cuda(*tokens, state)
    outputs, readouts = [], []
    for piece in zip(*(x.split([16, 1, 14], 1) for x in tokens), strict=True):
        y, sa, state = cuda(*piece, state)
        outputs.append(y)
        readouts.append(sa)
    for got, expected in zip((torch.cat(outputs, 1), torch.cat(readouts, 1), state), whole, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("outputs_used", [0, 1, 2])
def test_each_output_alone_carries_gradients(cuda: Cuda, outputs_used: int) -> None:
    gradients = []
    for operation, dtype in ((loop, torch.float64), (cuda, torch.float32)):
        leaves = [x.to(dtype).requires_grad_() for x in small_inputs(20, 16)]
        loss = operation(*leaves)[outputs_used].square().sum()
        gradients.append(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))
    for got, exact in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=1e-6 * float(exact.abs().max()))


def test_any_memory_layout_gives_the_same_bits(cuda: Cuda) -> None:
    inputs = small_inputs(21, 32)
    leaves = [x.clone().requires_grad_() for x in inputs]
    strided = [x.mT.contiguous().mT.requires_grad_() for x in inputs]
    shifted = [torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x).requires_grad_() for x in inputs]
    outputs = cuda(*leaves)
    weights = [torch.randn_like(output) for output in outputs]
    expected = torch.autograd.grad(outputs, leaves, weights)
    for other in (strided, shifted):
        got = cuda(*other)
        assert all(torch.equal(x, y) for x, y in zip(got, outputs, strict=True))
        gradients = torch.autograd.grad(got, other, [weight.mT.contiguous().mT for weight in weights])
        assert all(torch.equal(x, y) for x, y in zip(gradients, expected, strict=True))


def test_a_second_time_gives_the_same_bits(cuda: Cuda) -> None:
    inputs = small_inputs(40, 64)
    once, again = (outputs_and_gradients(cuda, inputs, torch.float32) for _ in range(2))
    assert all(torch.equal(again[name], tensor) for name, tensor in once.items())


def test_inputs_and_the_state_are_left_alone(cuda: Cuda) -> None:
    inputs = small_inputs(18, 16)
    leaves = [x.clone().requires_grad_() for x in inputs]
    torch.autograd.grad(cuda(*leaves)[0].sum(), leaves)
    assert all(torch.equal(x, leaf) for x, leaf in zip(inputs, leaves, strict=True))


def test_mixed_types_are_computed_in_float32_and_come_back_as_r(cuda: Cuda) -> None:
    r, *others = small_inputs(20, 16)
    y, sa, final = cuda(r.bfloat16(), *others)
    exact = cuda(r.bfloat16().float(), *others)
    assert torch.equal(y, exact[0].bfloat16())
    assert torch.equal(sa, exact[1].bfloat16())
    assert torch.equal(final, exact[2])


def test_float64_goes_to_the_chunked_backend(cuda: Cuda) -> None:
    inputs = [x.double() for x in small_inputs(20, 16)]
    for got, expected in zip(cuda(*inputs), chunked(*inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_other_head_sizes_are_refused_by_name(cuda: Cuda) -> None:
    with pytest.raises(ConfigError, match=r"cuda has no head size 24 \(allowed: 16, 32, 64, 128\)"):
        cuda(*make_inputs(2, 24))


def test_what_cannot_be_launched_is_an_error(cuda: Cuda, force_split: Callable[[int, int], None]) -> None:
    force_split(3, 1)
    with pytest.raises(RuntimeError, match="no such number of blocks per head"):
        cuda(*make_inputs(2, 64))


def test_a_gpu_with_too_little_shared_memory_is_told(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = wkv7_cuda._functions(False, torch.device("cuda", 0))
    monkeypatch.setattr(functions, "_split", lambda *_: 0)
    with pytest.raises(ConfigError, match="too little shared memory on this GPU for head size 64 in float32"):
        cuda(*make_inputs(2, 64))


@needs_emulation
@pytest.mark.parametrize(("n_heads", "forward", "backward"), [(128, 1, 1), (66, 2, 2), (4, 4, 4), (1, 4, 4)])
def test_rows_are_split_while_all_blocks_run_at_once(n_heads: int, forward: int, backward: int) -> None:
    """The emulated GPU has 132 multiprocessors."""
    split = emulated_library().wkv7_cuda_split
    assert (split(0, n_heads, 64, 1), split(1, n_heads, 64, 1)) == (forward, backward)
    assert split(1, 1000, 128, 0) == 8
    assert split(1, n_heads, 24, 0) == 0


@needs_emulation
@pytest.mark.parametrize("head_size", [16, 32, 64, 128])
def test_the_order_of_the_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch, head_size: int) -> None:
    """It would, where a barrier is missing."""
    library = emulated_library()
    emulate(monkeypatch, library)
    inputs = small_inputs(37, head_size)
    forwards = outputs_and_gradients(partial(wkv7, backend="cuda"), inputs, torch.float32)
    library.emulate_backwards(1)
    try:
        backwards = outputs_and_gradients(partial(wkv7, backend="cuda"), inputs, torch.float32)
    finally:
        library.emulate_backwards(0)
    assert all(torch.equal(backwards[name], tensor) for name, tensor in forwards.items())


@needs_emulation
@pytest.mark.slow
@pytest.mark.parametrize(
    ("present", "absent"),
    [
        ("    __pipeline_wait_prior(0);\n    __syncthreads();  // the", "    __syncthreads();  // the"),
        ("    shared.widen_all();\n    __syncthreads();\n    if (first", "    shared.widen_all();\n    if (first"),
        ("      flush(in, j0);\n      __syncthreads();\n", "      flush(in, j0);\n"),
        ("      __syncthreads();\n      flush(in, j0);\n", "      flush(in, j0);\n"),
    ],
    ids=["wait", "barrier forward", "barrier after a sum", "barrier before a sum"],
)
def test_the_emulation_notices_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    force_split: Callable[[int, int], None],
    present: str,
    absent: str,
) -> None:
    source = wkv7_cuda.SOURCE.read_text()
    assert source.count(present) == 1
    broken = tmp_path / "broken.cu"
    broken.write_text(source.replace(present, absent))
    monkeypatch.setenv("CAMOE_CACHE", str(tmp_path))
    library = emulated_library(broken)
    emulate(monkeypatch, library)
    force_split(1, 1)  # several warps to a block
    with pytest.raises((AssertionError, RuntimeError)):
        check_against_loop(partial(wkv7, backend="cuda"), small_inputs(37, 64))


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n_batch", "n_tokens", "n_head", "head_size"), [(4, 401, 40, 64), (2, 300, 3, 128)])
def test_many_tokens_and_heads_on_a_gpu(
    n_batch: int, n_tokens: int, n_head: int, head_size: int, dtype: torch.dtype
) -> None:
    inputs = make_inputs(n_tokens, head_size, n_batch=n_batch, n_head=n_head)
    check_against_loop(partial(wkv7, backend="cuda"), [x.cuda() for x in narrowed(inputs, dtype)])


@needs_cuda
def test_work_goes_to_the_current_stream() -> None:
    inputs = [x.cuda() for x in make_inputs(200, 64)]
    expected = wkv7(*inputs, backend="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        got = wkv7(*inputs, backend="cuda")
    stream.synchronize()
    assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))
