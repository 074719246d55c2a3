"""The CaMoE language model: embedding, blocks, head, and the market that lives beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from camoe.config.run import RunConfig
from camoe.economy.critic import Critic
from camoe.economy.layer_quote import LayerQuote
from camoe.economy.market import Market
from camoe.kernels.linear import Linear, linear
from camoe.kernels.linear_cross_entropy import IGNORED, linear_cross_entropy, linear_cross_entropy_reference
from camoe.kernels.row_exchange import RowExchange
from camoe.model.as_built import as_built
from camoe.model.block import Block
from camoe.model.bridge import LinearStateBridge, OpenBridge
from camoe.model.cost import model_cost
from camoe.model.deep_embed_attention import DeepEmbedTables
from camoe.model.initialization import initialize_embedding, initialize_head, initialize_output_norm
from camoe.model.precision import in_its_precision
from camoe.model.recompute import run_stage
from camoe.model.recurrent_state import RecurrentState
from camoe.model.residual_scales import build_norm
from camoe.model.routing_trace import BlockInput, RoutingTrace
from camoe.model.seeded_construction import seeded
from camoe.model.stream import Stream
from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import MixFlops
from camoe.routing.build import build_balancer
from camoe.routing.election_terms import NO_EXPERIMENT, ElectionTerms
from camoe.routing.router import RoutingContext


class LanguageModel(nn.Module):
    """RWKV-7 backbone, with attention in the layers of a schedule, whose channel mixing is a market of experts.

    One forward serves training, chunk-by-chunk and token-by-token use: training drops the returned state.
    """

    relative_cost: Tensor
    """[L,E] forward FLOPs of each expert over their mean."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        config = as_built(config, type(self))
        model, seed, vocab = config.model, config.seeds.init, config.tokenizer.vocab_size
        self.config = config
        self.precision = config.train.precision
        self.emb = nn.Embedding(vocab, model.n_embd)
        self.ln0, self.ln_out = build_norm(model), build_norm(model)
        if isinstance(self.ln_out, nn.LayerNorm):
            initialize_output_norm(self.ln_out.weight, tied=model.tie_embeddings)
        with seeded(seed, "emb"):
            initialize_embedding(self.emb.weight, tied=model.tie_embeddings)
        self.head: nn.Linear | None = None
        if not model.tie_embeddings:
            self.head = Linear(model.n_embd, vocab, bias=False)
            with seeded(seed, "head"):
                initialize_head(self.head.weight)
        self.bridge: LinearStateBridge | None = None
        if config.experts.transformer_prefix:
            with seeded(seed, "bridge"):
                self.bridge = LinearStateBridge(model.n_embd, model.prefix_len, model.low_rank)
        self.tables: DeepEmbedTables | None = None
        if model.deep_embed_attention and model.deep_embed_shared:
            self.tables = DeepEmbedTables(vocab, model.deep_embed_query_dim, model.n_embd)
        self.blocks = nn.ModuleList(Block(layer, config, self.tables) for layer in range(model.n_layer))
        cost = model_cost(self)
        flops = torch.tensor(cost.expert_flops, dtype=torch.float32)
        self.register_buffer("relative_cost", flops / flops.mean().clamp(min=1), persistent=False)
        self.market = Market.build(
            config.economy,
            model.n_layer,
            config.experts.total,
            config.router.top_k,
            expert_flops=cost.expert_flops,
            fixed_flops=cost.other_flops,
        )
        self.balancer: Balancer = build_balancer(
            config.router, model.n_layer, config.experts.total, MixFlops(cost.expert_flops, cost.other_flops)
        )

    @in_its_precision
    def forward(
        self,
        tokens: Tensor,
        state: RecurrentState | None = None,
        *,
        terms: ElectionTerms = NO_EXPERIMENT,
        trace: RoutingTrace | None = None,
    ) -> tuple[Tensor, RecurrentState]:
        """Logits [B,T,V] and the state after the last token; arguments as of `hidden`."""
        hidden, state = self.hidden(tokens, state, terms=terms, trace=trace)
        return self.logits(hidden), state

    @in_its_precision
    def hidden(
        self,
        tokens: Tensor,
        state: RecurrentState | None = None,
        *,
        terms: ElectionTerms = NO_EXPERIMENT,
        trace: RoutingTrace | None = None,
        resume_at: BlockInput | None = None,
    ) -> tuple[Tensor, RecurrentState]:
        """Normalised hidden vectors [B,T,C] and the state after the last token.

        From tokens [B,T] and the state before the first.

        terms: noise and experiments of training's elections. trace: receives every layer's routing.
        resume_at: what an earlier run of the same tokens passed to a layer, from which this one goes on.
        """
        first, stream = (resume_at.layer, resume_at.stream) if resume_at else (0, self._embedded(tokens))
        state = state if state is not None else RecurrentState.zeros(self.config.model, tokens.shape[0], stream.x)
        bridge = OpenBridge.of(self.bridge)
        position = state.positions(tokens.shape[1])
        after = []
        again = self.config.train.recompute == "block"
        for layer in range(first, len(self.blocks)):
            if trace is not None:
                trace.enter(BlockInput(layer, stream))
            balance, quote = self.balancer.of_layer(layer), self.quote(layer)
            context = RoutingContext(tokens, position, balance, quote, terms.of_layer(layer))
            inputs = (stream, state.layers[layer], bridge, context)
            stream, layer_state, routing = run_stage(self.blocks[layer], *inputs, again=again)
            after.append(layer_state)
            if trace is not None:
                trace.layers.append(routing)
        return self.ln_out(stream.x), RecurrentState(after, state.tokens_read + tokens.shape[1])

    def _embedded(self, tokens: Tensor) -> Stream:
        """What the first layer receives."""
        x = self.ln0(self.emb(tokens))
        return Stream(x, first=x if self.config.model.residual_scales else None)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.emb.weight.device

    def quote(self, layer: int) -> LayerQuote | None:
        """The layer's market state as bidders see it."""
        return self.market.quote(layer) if self.market.bidding else self.market.resting_quote(layer)

    def use_dispatch(self, form: str) -> None:
        """Choose how every layer's expert stage runs."""
        for block in self.blocks:
            mixture: Any = block.mixture
            mixture.dispatch = form

    def use_exchange(self, exchange: RowExchange | None) -> None:
        """Leave each process's experts to it, or run all of them here."""
        for block in self.blocks:
            mixture: Any = block.mixture
            mixture.exchange = exchange

    def use_wkv_backend(self, backend: str, chunk_len: int, fast_math: bool = False) -> None:
        """Choose how every layer that has it computes the WKV-7 recurrence."""
        for block in self.blocks:
            time_mix: Any = block.att
            if time_mix is not None:
                time_mix.backend, time_mix.chunk_len, time_mix.fast_math = backend, chunk_len, fast_math

    def critics(self) -> list[Critic]:
        """The critic of every layer; none where the economy has no money."""
        critics = [block.mixture.critic for block in self.blocks]  # type: ignore[union-attr]
        return [critic for critic in critics if critic is not None]  # type: ignore[misc]

    @in_its_precision
    def cross_entropy(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats under normalised hidden vectors [B,T,C]: the differentiable sum [], and detached [B,T].

        It is 0 where the target is -100. No whole logits are made.
        """
        nats, token_loss = linear_cross_entropy(*self.head_factors(hidden.flatten(0, 1)), targets.flatten())
        return nats, token_loss.view(targets.shape)

    @in_its_precision
    def token_cross_entropy(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Every token's cross-entropy in nats [B,T], differentiable, 0 where the target is -100.

        Twice the logits of the real targets are held.
        """
        real = targets != IGNORED
        _, losses = linear_cross_entropy_reference(*self.head_factors(hidden[real]), targets[real])
        return losses.new_zeros(targets.shape).masked_scatter(real, losses)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [B,T,V] of normalised hidden vectors [B,T,C]; scaled by C^-1/2 where embeddings are tied under a
        norm with gains, which start at C^1/2 for it."""
        return linear(*self.head_factors(hidden))

    def head_factors(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [...,C] and a matrix [V,C] whose products are the logits of normalised hidden vectors."""
        if self.head is not None:
            return hidden, self.head.weight
        if self.config.model.residual_scales:
            return hidden, self.emb.weight
        return hidden * hidden.shape[-1] ** -0.5, self.emb.weight
