"""RWKV-7 time mixing ("x070"): token shift, low-rank decay and rates, the WKV-7 recurrence, gated output.

Source: RWKV-LM, RWKV-v7; Peng et al., "RWKV-7 Goose", 2025. Parameter names and shapes are those of official
checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from camoe.kernels import one_token
from camoe.kernels.linear import Linear
from camoe.kernels.time_mix_native import TimeMixWeights, serves_time_mix, time_mix_native
from camoe.kernels.wkv7 import wkv7
from camoe.model import initialization as init
from camoe.model.recurrent_state import last_token, previous_tokens

# The normalisation's epsilon in official checkpoints: 1e-5 * 8^2.
GROUP_NORM_EPS = 64e-5


@dataclass(frozen=True)
class LowRanks:
    """Inner widths of the low-rank pairs of decay (w), in-context learning rate (a), value residual (v), gate (g)."""

    w: int
    a: int
    v: int
    g: int

    @classmethod
    def official(cls, n_embd: int) -> LowRanks:
        """RWKV-LM's widths: the multiple of 32 next to 2.5, 2.5, 1.7 and 5 times sqrt(C), at least 32."""
        w, a, v, g = (max(32, round(factor * math.sqrt(n_embd) / 32) * 32) for factor in (2.5, 2.5, 1.7, 5.0))
        return cls(w, a, v, g)


@dataclass(frozen=True)
class TimeMixOutput:
    """out, v_first: [B,T,C], the latter from the first TimeMix. To go on from: time_shift [B,C], wkv_state [B,H,N,N].

    readout: [B,T,C], the state before each token read along that token's removal key, S_{t-1} (-kk_t), all heads.
    """

    out: Tensor
    v_first: Tensor
    readout: Tensor
    time_shift: Tensor
    wkv_state: Tensor


@dataclass(frozen=True)
class Projections:
    """What a token brings to the recurrence, each [B,T,C].

    r: receptance. w: decay factor in (0.545, 1). k, v: key and value as written. a: in-context learning rate. g: output
    gate. kk: removal key, a unit vector in every head.
    """

    r: Tensor
    w: Tensor
    k: Tensor
    v: Tensor
    a: Tensor
    g: Tensor
    kk: Tensor


class TimeMix(nn.Module):
    """One layer's time mixing. `backend`, `chunk_len`, `fast_math`: how the recurrence is computed (see `wkv7`).

    With the native backend float32 goes through `time_mix_native` as a whole, unless `fused` is switched off.
    """

    def __init__(
        self,
        n_embd: int,
        head_size: int,
        layer_id: int,
        n_layer: int,
        low_ranks: LowRanks | None = None,
        *,
        first_layer: int = 0,
    ) -> None:
        """first_layer: the lowest layer with a TimeMix; it makes the values that the others mix in."""
        super().__init__()
        self.n_embd, self.head_size, self.layer_id, self.n_layer = n_embd, head_size, layer_id, n_layer
        self.backend, self.chunk_len, self.fast_math = "chunked", 16, False
        self.fused, self.makes_v_first = True, layer_id == first_layer
        ranks = low_ranks or LowRanks.official(n_embd)
        vector = (1, 1, n_embd)
        self.x_r, self.x_w, self.x_k, self.x_v, self.x_a, self.x_g = (_parameter(*vector) for _ in range(6))
        self.w0, self.w1, self.w2 = _parameter(*vector), _parameter(n_embd, ranks.w), _parameter(ranks.w, n_embd)
        self.a0, self.a1, self.a2 = _parameter(*vector), _parameter(n_embd, ranks.a), _parameter(ranks.a, n_embd)
        if not self.makes_v_first:
            self.v0, self.v1, self.v2 = _parameter(*vector), _parameter(n_embd, ranks.v), _parameter(ranks.v, n_embd)
        self.g1, self.g2 = _parameter(n_embd, ranks.g), _parameter(ranks.g, n_embd)
        self.k_k, self.k_a = _parameter(*vector), _parameter(*vector)
        self.r_k = _parameter(n_embd // head_size, head_size)
        self.receptance = Linear(n_embd, n_embd, bias=False)
        self.key = Linear(n_embd, n_embd, bias=False)
        self.value = Linear(n_embd, n_embd, bias=False)
        self.output = Linear(n_embd, n_embd, bias=False)
        self.ln_x = nn.GroupNorm(n_embd // head_size, n_embd, eps=GROUP_NORM_EPS)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """RWKV-LM's initial values; the output matrix starts at zero, so a fresh layer adds nothing."""
        width, layer = self.n_embd, (self.layer_id, self.n_layer)
        shrinking = init.shrinking_ratio(*layer)
        for names, exponent in (("rg", 0.2), ("wa", 0.9), ("kv", 0.7)):
            for name in names:
                getattr(self, f"x_{name}").copy_(init.token_shift_ratio(width, exponent * shrinking))
        self.w0.copy_(init.decay_bias(width, self.head_size, *layer))
        self.a0.copy_(init.learning_rate_bias(width, self.head_size))
        pairs = [(self.w1, self.w2), (self.a1, self.a2), (self.g1, self.g2)]
        if not self.makes_v_first:
            self.v0.copy_(init.value_residual_bias(width))
            pairs.append((self.v1, self.v2))
        for first, second in pairs:
            init.initialize_low_rank(first, second)
        self.k_k.copy_(init.removal_key_scale(width))
        self.k_a.fill_(1.02)
        self.r_k.fill_(-0.04)
        for matrix, scale in ((self.receptance, 0.5), (self.key, 0.05), (self.value, 0.5)):
            init.initialize_uniform(matrix.weight, scale / math.sqrt(width))
        self.output.weight.zero_()
        self.ln_x.weight.fill_(((self.layer_id + 1) / self.n_layer) ** 0.7)
        self.ln_x.bias.zero_()

    def forward(
        self,
        x: Tensor,
        v_first: Tensor | None = None,
        time_shift: Tensor | None = None,
        wkv_state: Tensor | None = None,
    ) -> TimeMixOutput:
        """x [B,T,C]: normalised input. v_first: the first TimeMix's values, which that one makes itself.

        time_shift [B,C]: the input before the first one; wkv_state [B,H,N,N]; None stands for zero.
        """
        if self.backend == "native" and self.fused and serves_time_mix(x, self.x_r, self.head_size):
            return self._native(x, v_first, time_shift, wkv_state)
        p, v_first = self.project(x, v_first, time_shift)
        r, w, k, v, a, b = (self._heads(tensor) for tensor in (p.r, p.w, p.k, p.v, -p.kk, p.kk * p.a))
        compute = partial(wkv7, backend=self.backend, chunk_len=self.chunk_len, fast_math=self.fast_math)
        y, sa, wkv_state = compute(r, w, k, v, a, b, wkv_state)
        return TimeMixOutput(self.finish(y, p), v_first, sa.flatten(2), last_token(x), wkv_state)

    def project(self, x: Tensor, v_first: Tensor | None, time_shift: Tensor | None) -> tuple[Projections, Tensor]:
        """All that tokens x [B,T,C] bring to the recurrence, and the first TimeMix's values."""
        shift = previous_tokens(x, time_shift) - x
        m_r, m_w, m_k, m_v, m_a, m_g = (
            torch.addcmul(x, shift, ratio) for ratio in (self.x_r, self.x_w, self.x_k, self.x_v, self.x_a, self.x_g)
        )
        r, k, v = self.receptance(m_r), self.key(m_k), self.value(m_v)
        w = decay_factor(self.w0 + torch.tanh(m_w @ self.w1) @ self.w2)
        if self.makes_v_first:
            v_first = v
        else:
            assert v_first is not None, "layers after the first need its values"
            v = v + (v_first - v) * torch.sigmoid(self.v0 + (m_v @ self.v1) @ self.v2)
        a = torch.sigmoid(self.a0 + (m_a @ self.a1) @ self.a2)
        g = torch.sigmoid(m_g @ self.g1) @ self.g2
        kk = functional.normalize(self._heads(k * self.k_k), dim=-1, eps=1e-12).flatten(2)
        k = k * (1 + (a - 1) * self.k_a)
        return Projections(r, w, k, v, a, g, kk), v_first

    def finish(self, y: Tensor, p: Projections) -> Tensor:
        """Output [B,T,C] from the recurrence's answers y [B,T,H,N]: normalised, with the bonus, gated, mixed."""
        y = self.ln_x(y.flatten(0, 1).flatten(1)).view_as(p.r) + self._bonus(p)
        return self.output(y * p.g)

    def _native(
        self, x: Tensor, v_first: Tensor | None, time_shift: Tensor | None, wkv_state: Tensor | None
    ) -> TimeMixOutput:
        """`forward` in native code."""
        assert self.makes_v_first or v_first is not None, "layers after the first need its values"
        n_batch, n_head, size = len(x), self.n_embd // self.head_size, self.head_size
        state = x.new_zeros(n_batch, n_head, size, size) if wkv_state is None else wkv_state
        last = x.new_zeros(n_batch, self.n_embd) if time_shift is None else time_shift
        given = None if self.makes_v_first else v_first
        compute = one_token.time_mix_token if one_token.serves(x, self.x_r) else time_mix_native
        mixed = compute(x, given, last, state, self._weights(), self.ln_x.eps)
        first_values = mixed.v if given is None else given
        assert first_values is not None, "the first layer makes them"
        return TimeMixOutput(mixed.out, first_values, mixed.sa, last_token(x), mixed.final_state)

    def _weights(self) -> TimeMixWeights:
        """All parameters; asking the module for them one by one would take longer than a token's recurrence."""
        own = [self._parameters.get(name) for name in TimeMixWeights._fields[:-6]]
        matrices = [layer.weight for layer in (self.receptance, self.key, self.value, self.output)]
        return TimeMixWeights._make([*own, *matrices, self.ln_x.weight, self.ln_x.bias])

    def _heads(self, x: Tensor) -> Tensor:
        """[B,T,C] -> [B,T,H,N]."""
        return x.view(*x.shape[:-1], x.shape[-1] // self.head_size, self.head_size)

    def _bonus(self, p: Projections) -> Tensor:
        """The current token's own value, weighted per head by sum_N r k r_k: [B,T,C]."""
        weight = (self._heads(p.r * p.k) * self.r_k).sum(-1, keepdim=True)
        return (weight * self._heads(p.v)).flatten(2)


def decay_factor(w_raw: Tensor) -> Tensor:
    """w = exp(-e^-0.5 sigmoid(w_raw)), in (0.545, 1); float32 or wider: near 1, bf16 would lose all long memories."""
    wide = w_raw.to(torch.promote_types(w_raw.dtype, torch.float32))
    return torch.exp(-math.exp(-0.5) * torch.sigmoid(wide))


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))
