"""The loop against the recurrence written out entry by entry."""

from __future__ import annotations

import torch

from camoe.kernels.wkv7_reference import wkv7_reference, wkv7_step
from tests.kernels.wkv7_cases import make_inputs


def test_one_step_entry_by_entry() -> None:
    """One head of size 2 by hand: sa = S a, S <- S diag(w) + sa b^T + v k^T, y = S r."""
    state = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    r, w, k, v, a, b = (
        torch.tensor([[pair]]) for pair in ([1.0, -1.0], [0.5, 0.8], [2.0, 1.0], [0.5, -1.0], [1.0, 0.5], [-1.0, 2.0])
    )
    y, sa, after = wkv7_step(state, r, w, k, v, a, b)
    # sa = [1 + 1, 3 + 2]; row i of S: S_i w + sa_i b + v_i k
    expected = torch.tensor([[0.5 - 2 + 1, 1.6 + 4 + 0.5], [1.5 - 5 - 2, 3.2 + 10 - 1]])
    torch.testing.assert_close(sa, torch.tensor([[[2.0, 5.0]]]))
    torch.testing.assert_close(after[0, 0], expected)
    torch.testing.assert_close(y[0, 0], expected[:, 0] - expected[:, 1])


def test_the_loop_is_its_steps() -> None:
    *tokens, state = make_inputs(6, 16)
    y, sa, final = wkv7_reference(*tokens, state)
    for t in range(6):
        y_t, sa_t, state = wkv7_step(state, *(tensor[:, t] for tensor in tokens))
        assert torch.equal(y[:, t], y_t)
        assert torch.equal(sa[:, t], sa_t)
    assert torch.equal(final, state)


def test_a_unit_key_with_rate_one_overwrites_its_value() -> None:
    """With b = -a = kk and no decay the old value under kk is removed before v is written there."""
    kk = torch.nn.functional.normalize(torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    value = torch.ones(1, 1, 8)
    state = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    _, _, after = wkv7_step(state, kk, torch.ones_like(kk), kk, value, -kk, kk)
    torch.testing.assert_close(after @ kk.unsqueeze(-1), value.unsqueeze(-1))
