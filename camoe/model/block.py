"""One block: RWKV-7 time mixing, then a mixture of experts instead of channel mixing."""

from __future__ import annotations

from torch import Tensor, nn

from camoe.config.run import RunConfig
from camoe.model.bridge import OpenBridge
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
    """x += TimeMix(LN1 x) [+ DEA(LN1 x, ids)]; [x = Dynamics(x)]; x += Mixture(LN2 x, state readout)."""

    def __init__(self, layer_id: int, config: RunConfig, tables: DeepEmbedTables | None) -> None:
        super().__init__()
        model, seed = config.model, config.seeds.init
        self.ln1, self.ln2 = nn.LayerNorm(model.n_embd), nn.LayerNorm(model.n_embd)
        with seeded(seed, f"blocks.{layer_id}.att"):
            self.att = TimeMix(model.n_embd, model.head_size, layer_id, model.n_layer)
        self.dea: DeepEmbedAttention | None = None
        if model.deep_embed_attention:
            with seeded(seed, f"blocks.{layer_id}.dea"):
                self.dea = DeepEmbedAttention(model, config.tokenizer.vocab_size, layer_id, tables)
        self.dynamics = build_dynamics(model.dynamics, model.n_embd)
        self.mixture = Mixture(layer_id, model, config.experts, config.router, config.economy, seed)
        self.recompute_time_mix = config.train.recompute == "time_mix"

    def forward(
        self,
        x: Tensor,
        v_first: Tensor | None,
        velocity: Tensor | None,
        state: LayerState,
        bridge: OpenBridge | None,
        context: RoutingContext,
    ) -> tuple[Tensor, Tensor, Tensor | None, LayerState, LayerRouting]:
        """The residual stream [B,T,C] after the block, v_first, velocity, the state to go on from, and the routing."""
        normed = self.ln1(x)
        inputs = (normed, v_first, state.time_shift, state.wkv)
        mixed: TimeMixOutput = run_stage(self.att, *inputs, again=self.recompute_time_mix)
        x = x + mixed.out
        dea_cache = state.dea
        if self.dea is not None:
            attended, dea_cache = self.dea(normed, context.tokens, dea_cache)
            x = x + attended
        if self.dynamics is not None:
            x, velocity = self.dynamics(x, velocity)
        h = self.ln2(x)
        previous = previous_tokens(h, state.channel_shift)
        out, routing = self.mixture(h, previous, mixed.readout, bridge, context)
        after = LayerState(mixed.time_shift, channel_shift=last_token(h), wkv=mixed.wkv_state, dea=dea_cache)
        return x + out, mixed.v_first, velocity, after, routing
