"""The layers of CaMoE as published: time mixing by a loop over time, experts behind masks, a materialised prefix.

Formulas: the modules whose weights are read (`TimeMix`, `Gate`, `LinearStateBridge`, the experts). C channels, H heads
of size N, E experts, K winners, P rows of the prefix.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from camoe.model.bridge import LinearStateBridge
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.time_mix import TimeMix, decay_factor
from camoe.routing.gate import Gate


def time_mix(att: TimeMix, x: Tensor, v_first: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Output, state readout and layer 0's values, each [B,T,C], of x [B,T,C] from an empty state."""
    shift = F.pad(x, (0, 0, 1, -1)) - x
    r = att.receptance(x + shift * att.x_r)
    k = att.key(x + shift * att.x_k)
    x_v = x + shift * att.x_v
    v = att.value(x_v)
    if v_first is None:
        v_first = v
    else:
        v = v + (v_first - v) * torch.sigmoid(att.v0 + (x_v @ att.v1) @ att.v2)
    w = decay_factor(att.w0 + torch.tanh((x + shift * att.x_w) @ att.w1) @ att.w2)
    a = torch.sigmoid(att.a0 + ((x + shift * att.x_a) @ att.a1) @ att.a2)
    g = torch.sigmoid((x + shift * att.x_g) @ att.g1) @ att.g2
    kk = F.normalize(_heads(k * att.k_k, att), dim=-1, eps=1e-12).flatten(2)
    k = k * (1 + (a - 1) * att.k_a)
    y, readout = wkv7_loop(*(_heads(z, att) for z in (r, w, k, v, -kk, kk * a)))
    y = att.ln_x(y.to(x.dtype).flatten(0, 1).flatten(1)).view_as(x)
    bonus = (_heads(r * k, att) * att.r_k).sum(-1, keepdim=True) * _heads(v, att)
    return att.output((y + bonus.flatten(2)) * g), readout.flatten(2), v_first


def wkv7_loop(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """y and sa [B,T,H,N] from inputs [B,T,H,N], one token after the other, in float32 or wider."""
    wide = torch.promote_types(w.dtype, torch.float32)
    r, w, k, v, a, b = (z.to(wide) for z in (r, w, k, v, a, b))
    n_batch, n_tokens, n_head, size = r.shape
    state = r.new_zeros(n_batch, n_head, size, size)
    outputs, readouts = [], []
    with torch.autocast(r.device.type, enabled=False):
        for t in range(n_tokens):
            sa = state @ a[:, t].unsqueeze(-1)
            state = state * w[:, t].unsqueeze(-2) + sa @ b[:, t].unsqueeze(-2)
            state = state + v[:, t].unsqueeze(-1) @ k[:, t].unsqueeze(-2)
            outputs.append((state @ r[:, t].unsqueeze(-1)).squeeze(-1))
            readouts.append(sa.squeeze(-1))
    return torch.stack(outputs, 1), torch.stack(readouts, 1)


def confidences(gate: Gate, h: Tensor) -> Tensor:
    """Gate logits [B,T,E] of h [B,T,C], one small network per expert after the other, in the gate's own dtype."""
    inner, outer = (gate.weight_in, gate.bias_in), (gate.weight_out, gate.bias_out)
    nets = zip(*(z.chunk(gate.n_expert) for z in (*inner, *outer)), strict=True)
    with torch.autocast(h.device.type, enabled=False):
        h = h.to(gate.weight_in.dtype)
        logits = [F.linear(F.gelu(F.linear(h, *net[:2])), *net[2:]) for net in nets]
    confidence = torch.cat(logits, dim=-1)
    return torch.sigmoid(confidence) if gate.activation == "sigmoid" else confidence


def masked_experts(
    experts: torch.nn.ModuleList,
    bridge: LinearStateBridge | None,
    h: Tensor,
    readout: Tensor,
    winners: Tensor,
    weights: Tensor,
) -> Tensor:
    """Weighted sum of the winners' outputs [B,T,C]: every expert finds its tokens by a mask and adds to their rows."""
    previous = F.pad(h, (0, 0, 1, -1))
    out = torch.zeros_like(h)
    for index, expert in enumerate(experts):
        mine = winners == index
        mask = mine.any(-1)
        if not mask.any():
            continue
        x = h[mask]
        if isinstance(expert, TransformerPrefix):
            assert bridge is not None
            result = prefix_expert(expert, bridge, x, readout[mask])
        else:
            assert isinstance(expert, RwkvFeedForward)
            result = feed_forward(expert, x, previous[mask])
        share = (weights * mine).sum(-1)[mask]
        out[mask] += (result * share.unsqueeze(-1)).to(out.dtype)
    return out


def feed_forward(expert: RwkvFeedForward, h: Tensor, previous: Tensor) -> Tensor:
    """RWKV channel mix of h [n,C]."""
    if expert.x_k is not None:
        h = h + (previous - h) * expert.x_k.flatten()
    return expert.value(torch.relu(expert.key(h)) ** 2)


def prefix_expert(expert: TransformerPrefix, bridge: LinearStateBridge, h: Tensor, readout: Tensor) -> Tensor:
    """Transformer expert with its bridge, of h and its state readout [n,C]."""
    joined = torch.cat((h, bridge.readout_norm(readout.to(h.dtype))), dim=-1)
    feature = F.gelu(bridge.feature_norm(bridge.compress(joined)))
    low = bridge.to_low(feature).view(-1, bridge.prefix_len, bridge.low_rank)
    attended = prefix_attention(expert, bridge, expert.query(h), low)
    return expert.output(attended) * torch.sigmoid(expert.output_gate(h))


def prefix_attention(expert: TransformerPrefix, bridge: LinearStateBridge, query: Tensor, low: Tensor) -> Tensor:
    """Each token's one query [n,C] attends to keys and values of its own prefix, made from rows [n,P,r]; [n,C]."""
    prefix = bridge.prefix_norm(bridge.up(low) + bridge.position)
    queries, keys, values = (_rows(z, expert) for z in (query[:, None], expert.key(prefix), expert.value(prefix)))
    return F.scaled_dot_product_attention(queries, keys, values).flatten(1)


def _heads(x: Tensor, att: TimeMix) -> Tensor:
    """[B,T,C] -> [B,T,H,N]."""
    return x.unflatten(-1, (-1, att.head_size))


def _rows(x: Tensor, expert: TransformerPrefix) -> Tensor:
    """[n,rows,C] -> [n,H,rows,N]."""
    return x.unflatten(-1, (-1, expert.head_size)).transpose(1, 2)
