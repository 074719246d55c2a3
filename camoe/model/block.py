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
from camoe.model.residual_scales import ResidualScales, build_norm, scaled
from camoe.model.routing_trace import LayerRouting
from camoe.model.seeded_construction import seeded
from camoe.model.skip_connections import SkipConnection, hears_earlier, keeps_output
from camoe.model.stream import Stream
from camoe.model.time_mix import TimeMix, TimeMixOutput
from camoe.routing.router import RoutingContext


class Block(nn.Module):
    """x += TimeMix(LN1 x) [+ DEA(LN1 x, ids)]; [x = Dynamics(x)]; x += Mixture(LN2 x, state readout).

    In an attention layer of the schedule CausalAttention stands in TimeMix's place, and there is no readout. With
    skip_connections and residual_scales (see there) x passes both, in this order, before all of it.
    """

    def __init__(self, layer_id: int, config: RunConfig, tables: DeepEmbedTables | None) -> None:
        super().__init__()
        model, seed = config.model, config.seeds.init
        self.ln1, self.ln2 = build_norm(model), build_norm(model)
        self.att: TimeMix | None = None
        self.attention: CausalAttention | None = None
        if layer_id in model.attention_layers:
            with seeded(seed, f"blocks.{layer_id}.attention"):
                self.attention = CausalAttention(
                    model.n_embd,
                    model.head_size,
                    rotary=model.attention_rotary,
                    n_kv_head=model.attention_kv_heads,
                    query_gain=model.attention_query_gain,
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
        skips = model.skip_connections
        self.is_kept = skips and keeps_output(layer_id, model.n_layer)
        self.skip = SkipConnection(model.n_embd) if skips and hears_earlier(layer_id, model.n_layer) else None
        self.residual = ResidualScales(model.n_embd) if model.residual_scales else None
        self.mixture = Mixture(layer_id, model, config.experts, config.router, config.economy, seed)
        self.recompute_mixing = config.train.recompute == "time_mix"

    def forward(
        self,
        stream: Stream,
        state: LayerState,
        bridge: OpenBridge | None,
        context: RoutingContext,
    ) -> tuple[Stream, LayerState, LayerRouting]:
        """What the next layer receives, the state to go on from, and the routing."""
        x, kept = self._entered(stream)
        v_first, velocity = stream.v_first, stream.velocity
        of_mixing, of_experts = (None, None) if self.residual is None else (self.residual.mixing, self.residual.experts)
        normed = self.ln1(x)
        readout = time_shift = wkv = cache = None
        if self.att is not None:
            inputs = (normed, v_first, state.time_shift, state.wkv)
            mixed: TimeMixOutput = run_stage(self.att, *inputs, again=self.recompute_mixing)
            x, v_first, readout = x + scaled(mixed.out, of_mixing), mixed.v_first, mixed.readout
            time_shift, wkv = mixed.time_shift, mixed.wkv_state
        else:
            assert self.attention is not None
            attended, cache = run_stage(
                self.attention, normed, context.position, state.attention, again=self.recompute_mixing
            )
            x, bridge = x + scaled(attended, of_mixing), None
        dea_cache = state.dea
        if self.dea is not None:
            attended, dea_cache = self.dea(normed, context.tokens, dea_cache)
            x = x + scaled(attended, of_mixing)
        if self.dynamics is not None:
            x, velocity = self.dynamics(x, velocity)
        h = self.ln2(x)
        previous = previous_tokens(h, state.channel_shift)
        out, routing = self.mixture(h, previous, readout, bridge, context)
        x = x + scaled(out, of_experts)
        stream = Stream(x, v_first, velocity, stream.first, (*kept, x) if self.is_kept else kept)
        return stream, LayerState(last_token(h), time_shift, wkv, cache, dea_cache), routing

    def _entered(self, stream: Stream) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The residual stream [B,T,C] that the block works on, and what is kept for the layers above."""
        x, kept = stream.x, stream.kept
        if self.skip is not None:
            x, kept = self.skip(x, kept[-1]), kept[:-1]
        return (x if self.residual is None else self.residual(x, stream.first)), kept
