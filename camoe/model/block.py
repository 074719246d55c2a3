"""One block: RWKV-7 time mixing or causal attention, then a mixture of experts instead of channel mixing."""

from __future__ import annotations

from torch import Tensor, nn

from camoe.config.run import RunConfig
from camoe.model.bridge import OpenBridge
from camoe.model.causal_attention import CausalAttention
from camoe.model.deep_embed_attention import DeepEmbedAttention, DeepEmbedTables
from camoe.model.dynamics import build_dynamics
from camoe.model.mixture import Mixture
from camoe.model.recompute import run_stage
from camoe.model.recurrent_state import LayerState, last_token, previous_tokens
from camoe.model.routing_trace import LayerRouting
from camoe.model.seeded_construction import seeded
from camoe.model.time_mix import TimeMix, TimeMixOutput
from camoe.routing.router import RoutingContext


class Block(nn.Module):
    """x += TimeMix(LN1 x) [+ DEA(LN1 x, ids)]; [x = Dynamics(x)]; x += Mixture(LN2 x, state readout).

    In an attention layer of the schedule CausalAttention stands in TimeMix's place, and there is no readout.
    """

    def __init__(self, layer_id: int, config: RunConfig, tables: DeepEmbedTables | None) -> None:
        super().__init__()
        model, seed = config.model, config.seeds.init
        self.ln1, self.ln2 = nn.LayerNorm(model.n_embd), nn.LayerNorm(model.n_embd)
        self.att: TimeMix | None = None
        self.attention: CausalAttention | None = None
        if layer_id in model.attention_layers:
            with seeded(seed, f"blocks.{layer_id}.attention"):
                self.attention = CausalAttention(
                    model.n_embd,
                    model.head_size,
                    rotary=model.attention_rotary,
                    n_kv_head=model.attention_kv_heads,
                )
        else:
            with seeded(seed, f"blocks.{layer_id}.att"):
                first = model.rwkv_layers[0]
                self.att = TimeMix(model.n_embd, model.head_size, layer_id, model.n_layer, first_layer=first)
        self.dea: DeepEmbedAttention | None = None
        if model.deep_embed_attention:
            with seeded(seed, f"blocks.{layer_id}.dea"):
                self.dea = DeepEmbedAttention(model, config.tokenizer.vocab_size, layer_id, tables)
        self.dynamics = build_dynamics(model.dynamics, model.n_embd)
        self.mixture = Mixture(layer_id, model, config.experts, config.router, config.economy, seed)
        self.recompute_mixing = config.train.recompute == "time_mix"

    def forward(
        self,
        x: Tensor,
        v_first: Tensor | None,
        velocity: Tensor | None,
        state: LayerState,
        bridge: OpenBridge | None,
        context: RoutingContext,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, LayerState, LayerRouting]:
        """The residual stream [B,T,C] after the block, v_first, velocity, the state to go on from, and the routing."""
        normed = self.ln1(x)
        readout = time_shift = wkv = cache = None
        if self.att is not None:
            inputs = (normed, v_first, state.time_shift, state.wkv)
            mixed: TimeMixOutput = run_stage(self.att, *inputs, again=self.recompute_mixing)
            x, v_first, readout = x + mixed.out, mixed.v_first, mixed.readout
            time_shift, wkv = mixed.time_shift, mixed.wkv_state
        else:
            assert self.attention is not None
            attended, cache = run_stage(
                self.attention, normed, context.position, state.attention, again=self.recompute_mixing
            )
            x, bridge = x + attended, None
        dea_cache = state.dea
        if self.dea is not None:
            attended, dea_cache = self.dea(normed, context.tokens, dea_cache)
            x = x + attended
        if self.dynamics is not None:
            x, velocity = self.dynamics(x, velocity)
        h = self.ln2(x)
        previous = previous_tokens(h, state.channel_shift)
        out, routing = self.mixture(h, previous, readout, bridge, context)
        return x + out, v_first, velocity, LayerState(last_token(h), time_shift, wkv, cache, dea_cache), routing
