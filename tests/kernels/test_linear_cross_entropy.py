"""The chunked head and cross-entropy against all logits at once: values, gradients, and what it keeps in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from camoe.kernels import linear_cross_entropy as module
from camoe.kernels.linear_cross_entropy import (
    IGNORED,
    chunk_rows,
    linear_cross_entropy,
    linear_cross_entropy_reference,
)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 8 rows and blocks of 3 at 50 words, so that small cases have several of both, and a remainder."""
    monkeypatch.setattr(module, "LEAST_CHUNK_ROWS", 8)
    monkeypatch.setattr(module, "CHUNK_LOGITS", {"cpu": 8 * 50, "cuda": 8 * 50})
    monkeypatch.setattr(module, "CACHED_LOGITS", 3 * 50)


def _case(n_rows: int = 37, n_vocab: int = 50, n_embd: int = 13, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(n_rows)
    hidden, weight = (3 * torch.randn(n, n_embd, generator=generator, dtype=torch.float64) for n in (n_rows, n_vocab))
    targets = torch.randint(n_vocab, (n_rows,), generator=generator)
    targets[1::5] = IGNORED
    return [hidden.to(dtype), (weight / n_embd**0.5).to(dtype), targets]


def _gradients(
    operation: Callable[..., tuple[Tensor, Tensor]], case: list[Tensor], upstream: float = 1.0
) -> tuple[Tensor, ...]:
    hidden, weight = (tensor.clone().requires_grad_() for tensor in case[:2])
    total, token_loss = operation(hidden, weight, case[2])
    gradients = torch.autograd.grad(total * upstream, (hidden, weight))
    return (total.detach(), token_loss.detach(), *gradients)


@pytest.mark.parametrize("n_vocab", [2, 50, 333])
@pytest.mark.parametrize("n_rows", [1, 7, 8, 9, 37])
def test_values_and_gradients_are_those_of_all_logits(n_rows: int, n_vocab: int) -> None:
    case = _case(n_rows, n_vocab)
    chunked, whole = (_gradients(f, case, -2.5) for f in (linear_cross_entropy, linear_cross_entropy_reference))
    for got, exact in zip(chunked, whole, strict=True):
        torch.testing.assert_close(got, exact, rtol=1e-12, atol=1e-13)


def test_float32_is_as_good_as_all_logits_in_float32() -> None:
    exact = _gradients(linear_cross_entropy_reference, _case())
    case = _case(dtype=torch.float32)
    chunked, whole = (_gradients(f, case) for f in (linear_cross_entropy, linear_cross_entropy_reference))
    for got, other, value in zip(chunked, whole, exact, strict=True):
        assert got.dtype == torch.float32
        assert (got - value).abs().max() <= 2 * (other - value).abs().max() + 1e-6 * value.abs().max()


@pytest.mark.parametrize("learned", ["hidden", "weight"])
def test_a_gradient_that_nobody_needs_is_not_formed(learned: str) -> None:
    hidden, weight, targets = _case()
    frozen, thawed = (hidden, weight) if learned == "weight" else (weight, hidden)
    thawed.requires_grad_()
    (expected,) = torch.autograd.grad(linear_cross_entropy_reference(hidden, weight, targets)[0], thawed)
    total, _ = linear_cross_entropy(hidden, weight, targets)
    formed = [gradient is not None for gradient in total.grad_fn.gradients]  # type: ignore[union-attr]
    total.backward()
    assert formed == [learned == "hidden", learned == "weight"]
    assert frozen.grad is None
    torch.testing.assert_close(thawed.grad, expected)


def test_without_gradients_only_the_losses_are_computed() -> None:
    hidden, weight, targets = _case()
    expected = linear_cross_entropy_reference(hidden, weight, targets)
    with torch.no_grad():
        found = linear_cross_entropy(hidden.requires_grad_(), weight.requires_grad_(), targets)
    assert not found[0].requires_grad
    torch.testing.assert_close(found, expected)


def test_only_the_sum_is_differentiable() -> None:
    hidden, weight, targets = _case()
    total, token_loss = linear_cross_entropy(hidden.requires_grad_(), weight, targets)
    assert total.requires_grad
    assert not token_loss.requires_grad


def test_ignored_targets_count_nothing_and_a_batch_of_them_is_zero() -> None:
    hidden, weight, targets = _case()
    targets[:] = IGNORED
    for tensor in _gradients(linear_cross_entropy, [hidden, weight, targets]):
        assert not tensor.any()


def test_no_rows() -> None:
    total, token_loss, *gradients = _gradients(linear_cross_entropy, _case(n_rows=0))
    assert (float(total), token_loss.numel()) == (0.0, 0)
    assert not any(gradient.any() for gradient in gradients)


def test_logits_of_any_size_stay_finite() -> None:
    hidden, weight, targets = _case()
    case = [hidden * 1e3, weight, targets]
    chunked, whole = (_gradients(f, case) for f in (linear_cross_entropy, linear_cross_entropy_reference))
    for got, exact in zip(chunked, whole, strict=True):
        torch.testing.assert_close(got, exact)


@pytest.mark.parametrize("wrong", [50, -1])
def test_a_target_that_is_no_word_is_refused(wrong: int) -> None:
    hidden, weight, targets = _case()
    targets[3] = wrong
    with pytest.raises(RuntimeError, match="out of bounds"):
        linear_cross_entropy(hidden, weight, targets)


def test_a_second_backward_pass_gives_the_same() -> None:
    """The first one hands its gradients over and scales them in place."""
    hidden, weight, targets = _case()
    total, _ = linear_cross_entropy(hidden.requires_grad_(), weight.requires_grad_(), targets)
    first, second = (torch.autograd.grad(3 * total, (hidden, weight), retain_graph=True) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


def test_a_matrix_that_is_used_elsewhere_too_collects_both_gradients() -> None:
    """Tied embeddings: the rows that were read and the head are one parameter."""
    _, weight, targets = _case()
    words = torch.arange(len(targets)) % len(weight)
    gradients = []
    for operation in (linear_cross_entropy, linear_cross_entropy_reference):
        tied = weight.clone().requires_grad_()
        operation(tied[words] * 0.3, tied, targets)[0].backward()
        gradients.append(tied.grad)
    torch.testing.assert_close(*gradients)


def test_under_autocast_the_products_are_bfloat16_and_the_sums_float32() -> None:
    case = _case(dtype=torch.float32)
    exact = _gradients(linear_cross_entropy_reference, case)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chunked = _gradients(linear_cross_entropy, case)
        whole = _gradients(linear_cross_entropy_reference, case)
    torch.testing.assert_close(chunked[1], whole[1], rtol=1e-5, atol=1e-5)
    assert (chunked[1] - exact[1]).abs().max() > 1e-3, "the logits were not rounded to bfloat16"
    for got, other, value in zip(chunked[2:], whole[2:], exact[2:], strict=True):
        assert got.dtype == torch.float32
        assert (got - value).norm() <= 1.5 * (other - value).norm()


def test_bfloat16_tensors_keep_their_dtype() -> None:
    _, token_loss, *gradients = _gradients(linear_cross_entropy, _case(dtype=torch.bfloat16))
    assert token_loss.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [torch.bfloat16] * 2


def test_chunks_are_as_large_as_memory_for_logits_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert chunk_rows(65536, "cpu") == 256
    assert chunk_rows(256, "cpu") == 16384
    assert chunk_rows(65536, "cuda") == 4096
