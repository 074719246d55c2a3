"""Initial values of RWKV-7's parameters, as RWKV-LM sets them (RWKV-v7 training model, "x070").

Formulas are pure functions that return tensors. Draws fill a parameter in place: always in float32 on the CPU, from the
default generator, then rounded to the parameter's dtype, so that every dtype and device starts from the same numbers.
A parameter on the meta device is left alone and draws nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# With tied embeddings a fresh model returns the normalised embedding of the token just read, so the logit of that very
# token starts here, and the loss near ln V + ln(1 + e^2/V): within 4 % of ln V from V = 64 on.
TIED_OWN_LOGIT = 2.0


def token_shift_ratio(n_embd: int, exponent: float) -> Tensor:
    """Share of the previous token in the mixed input, [1,1,C]: 1 - (i/C)^exponent for channel i."""
    return (1 - (_channels(n_embd) / n_embd) ** exponent).view(1, 1, n_embd)


def shrinking_ratio(layer_id: int, n_layer: int) -> float:
    """RWKV-LM's ratio that falls from 1 in the first layer to 1/L in the last: 1 - layer/L."""
    return 1 - layer_id / n_layer


def decay_bias(n_embd: int, head_size: int, layer_id: int, n_layer: int) -> Tensor:
    """w0 [1,1,C]: -6 + 6 (i/(C-1))^(1 + ratio1^0.3) + 0.5 + 2.5 zigzag, with ratio1 = layer/(L-1)."""
    growing_ratio = layer_id / max(n_layer - 1, 1)
    curve = -6 + 6 * (_channels(n_embd) / (n_embd - 1)) ** (1 + growing_ratio**0.3)
    return (curve + 0.5 + 2.5 * zigzag(n_embd, head_size)).view(1, 1, n_embd)


def learning_rate_bias(n_embd: int, head_size: int) -> Tensor:
    """a0 [1,1,C]: -0.19 + 0.3 zigzag + 0.4 linear."""
    return (-0.19 + 0.3 * zigzag(n_embd, head_size) + 0.4 * linear(n_embd)).view(1, 1, n_embd)


def value_residual_bias(n_embd: int) -> Tensor:
    """v0 [1,1,C]: 0.73 - 0.4 linear."""
    return (0.73 - 0.4 * linear(n_embd)).view(1, 1, n_embd)


def removal_key_scale(n_embd: int) -> Tensor:
    """k_k [1,1,C]: 0.71 - 0.1 linear."""
    return (0.71 - 0.1 * linear(n_embd)).view(1, 1, n_embd)


def linear(n_embd: int) -> Tensor:
    """[C] from -1/2 to 1/2."""
    return _channels(n_embd) / (n_embd - 1) - 0.5


def zigzag(n_embd: int, head_size: int) -> Tensor:
    """[C], within every head z |z| with z from -1 to 1."""
    half = (head_size - 1) / 2
    z = (_channels(n_embd) % head_size - half) / half
    return z * z.abs()


def _channels(n_embd: int) -> Tensor:
    return torch.arange(n_embd, dtype=torch.float32, device="cpu")


@torch.no_grad()
def initialize_uniform(weight: Tensor, bound: float) -> None:
    """Uniform in [-bound, bound]."""
    if not weight.is_meta:
        weight.copy_(_draw(weight).uniform_(-bound, bound))


@torch.no_grad()
def initialize_normal(weight: Tensor, deviation: float) -> None:
    """Normal around 0."""
    if not weight.is_meta:
        weight.copy_(_draw(weight).normal_(0, deviation))


@torch.no_grad()
def initialize_orthogonal(weight: Tensor, gain: float) -> None:
    """Orthogonal rows or columns, whichever are fewer, of length `gain`."""
    if not weight.is_meta:
        weight.copy_(nn.init.orthogonal_(_draw(weight), gain=gain))


def initialize_low_rank(first: Tensor, second: Tensor) -> None:
    """A pair used as x @ first @ second: zero; orthogonal with gain 0.1, times sqrt(rows/cols) when rows > cols."""
    rows, columns = second.shape
    nn.init.zeros_(first)
    initialize_orthogonal(second, 0.1 * math.sqrt(max(1.0, rows / columns)))


@torch.no_grad()
def initialize_embedding(weight: Tensor, *, tied: bool) -> None:
    """Embedding [V,C]. Own head: uniform(+-1e-4) as RWKV-LM (a LayerNorm follows). Tied: normal, rows 2/sqrt(C) long.

    A tied row is also a row of the head: unit entries would start the loss at about sqrt(C), while 1e-4 learns slowly.
    """
    if not tied:
        initialize_uniform(weight, 1e-4)
    elif not weight.is_meta:
        weight.copy_(_draw(weight).normal_(0, TIED_OWN_LOGIT / weight.shape[1]))


@torch.no_grad()
def initialize_output_norm(weight: Tensor, *, tied: bool) -> None:
    """Gain of LN_out [C]: 1 with a head of its own, sqrt(C) with tied embeddings.

    Tied logits are (LN_out x C^-1/2) emb^T. With gain 1 a step of size lr moves a logit sqrt(C) times less than in an
    untied head, and a byte model needs three times the steps to reach the same loss; sqrt(C) makes up for the factor.
    """
    weight.fill_(math.sqrt(weight.shape[0]) if tied else 1.0)


def initialize_head(weight: Tensor) -> None:
    """Head [V,C] as in RWKV-LM: orthogonal, gain 0.5 sqrt(V/C) (0.5 when V <= C); logits start with deviation 0.5."""
    n_vocab, n_embd = weight.shape
    initialize_orthogonal(weight, 0.5 * math.sqrt(max(1.0, n_vocab / n_embd)))


def _draw(weight: Tensor) -> Tensor:
    """Room for a draw in the shape of `weight`."""
    return torch.empty(weight.shape, dtype=torch.float32, device="cpu")
