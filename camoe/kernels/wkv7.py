"""The WKV-7 recurrence as one differentiable operation, and the choice of who computes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.config import ConfigError
from camoe.config.refusal import not_an_option, out_of_range
from camoe.kernels.without_autocast import without_autocast
from camoe.kernels.wkv7_chunked import wkv7_chunked
from camoe.kernels.wkv7_cuda import cuda_library, wkv7_cuda
from camoe.kernels.wkv7_native import native_library, wkv7_native
from camoe.kernels.wkv7_reference import wkv7_reference

CPU_BACKENDS = ("native", "chunked", "reference")
BACKENDS = ("cuda", *CPU_BACKENDS)
# The chunked form divides by the decay over a chunk, at least 0.545^64 = 1e-17; float32 ends at 1e-38.
MAX_CHUNK_LEN = 64


@dataclass(frozen=True)
class BackendChoice:
    """The backend that will run and, in words for the log, why."""

    name: str
    reason: str


def choose_backend(requested: str, device_type: str, fast_math: bool = False) -> BackendChoice:
    """Resolves `kernel.wkv`: a name of BACKENDS is taken as it is, `auto` picks the fastest one for the device.

    Raises ConfigError for a name that does not exist, and for `native` and `cuda` where they cannot run.
    """
    if requested not in ("auto", *BACKENDS):
        raise not_an_option("kernel.wkv", requested, ("auto", *BACKENDS), noun="backend")
    if requested in ("chunked", "reference"):
        return BackendChoice(requested, "requested")
    fastest = "native" if device_type == "cpu" else "cuda"
    if requested not in ("auto", fastest):
        where = {"native": "the CPU", "cuda": "a CUDA device"}[requested]
        raise ConfigError(f"kernel.wkv: {requested} computes on {where}, the device is {device_type}; use chunked")
    compiled = native_library() if fastest == "native" else cuda_library(fast_math)
    if compiled.library is not None:
        return BackendChoice(
            fastest, f"{f'auto, {device_type}' if requested == 'auto' else 'requested'}: {compiled.reason}"
        )
    if requested == fastest:
        raise ConfigError(f"kernel.wkv: {fastest} is not available here: {compiled.reason}; use auto or chunked")
    return BackendChoice("chunked", f"auto, {device_type} without compiled code: {compiled.reason}")


def wkv7(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor | None = None,
    *,
    backend: str = "chunked",
    chunk_len: int = 16,
    fast_math: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs RWKV-7's state recurrence (formula: `wkv7_step`) over T tokens from `state`, or from zero.

    r, w, k, v, a, b [B,T,H,N]; `w` is the decay factor itself, exp(-e^-0.5 sigmoid(z)), in (0.545, 1).
    state [B,H,N,N]: row = value channel, column = key channel. Computed in float32 (float64 if any input is), whatever
    the inputs' dtype and autocast. Returns y and sa [B,T,H,N] in the dtype of r, and the final state in the computing
    dtype; all three carry gradients to every input. `chunk_len` matters to the chunked backend only, `fast_math` to the
    cuda backend. The native and the cuda backend leave float64 to the chunked one.
    """
    if backend not in BACKENDS:
        raise not_an_option("kernel.wkv", backend, BACKENDS, noun="backend")
    if not 1 <= chunk_len <= MAX_CHUNK_LEN:
        raise out_of_range("kernel.chunk_len", chunk_len, f"at least 1 and at most {MAX_CHUNK_LEN}")
    state = _checked_state(state, (r, w, k, v, a, b))
    dtype = r.dtype
    if backend == "cuda" and state.dtype == torch.float32:
        y, sa, final_state = wkv7_cuda(r, w, k, v, a, b, state, fast_math=fast_math)
        return _as(y, dtype), _as(sa, dtype), final_state
    r, w, k, v, a, b = (_as(x, state.dtype) for x in (r, w, k, v, a, b))
    if backend == "native" and state.dtype == torch.float32:
        y, sa, final_state = wkv7_native(r, w, k, v, a, b, state)
        return _as(y, dtype), _as(sa, dtype), final_state
    with without_autocast(r.device.type):
        if backend == "reference" or r.shape[1] == 1:
            y, sa, final_state = wkv7_reference(r, w, k, v, a, b, state)
        else:
            y, sa, final_state = wkv7_chunked(r, w, k, v, a, b, state, chunk_len)
    return y.to(dtype), sa.to(dtype), final_state


def _checked_state(state: Tensor | None, inputs: tuple[Tensor, ...]) -> Tensor:
    """The initial state in the computing dtype; refuses shapes that would broadcast into a wrong answer."""
    shape = inputs[0].shape
    n_batch, n_tokens, n_head, size = shape
    expected = (n_batch, n_head, size, size)
    one_shape = [x.shape for x in inputs].count(shape) == len(inputs)
    if not one_shape or n_tokens == 0 or (state is not None and state.shape != expected):
        shapes = {tuple(x.shape) for x in inputs}
        given = None if state is None else tuple(state.shape)
        raise ValueError(f"wkv7: inputs must share one shape [B,T,H,N], T >= 1; got {shapes} with state {given}")
    given_tensors = inputs if state is None else (*inputs, state)
    dtype = torch.float64 if torch.float64 in [x.dtype for x in given_tensors] else torch.float32
    if state is None:
        return torch.zeros(expected, dtype=dtype, device=inputs[0].device)
    return _as(state, dtype)


def _as(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x.to(dtype)`, at a tenth of its price where there is nothing to do: one token takes only microseconds."""
    return x if x.dtype == dtype else x.to(dtype)
