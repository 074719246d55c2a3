"""Parameters and FLOPs, against a tiny model worked out by hand and the published preset."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from camoe.model.bridge import LinearStateBridge
from camoe.model.cost import ModelCost, model_cost
from camoe.model.experts.expert import Expert, ExpertContext
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.experts.transformer_prefix import TransformerPrefix
from camoe.model.language_model import LanguageModel
from tests.config.compositions import hydra_ready, run_config
from tests.small_run import small_run

# The small run: C 32, L 2, 2 heads of 16, low ranks 32, 3 RWKV experts + 1 Transformer, top-2, P 3, r 4, 256 words.
MATRIX = 32 * 32
HEAD = 256 * 32
TIME_MIX = 4 * MATRIX + 3 * 2 * MATRIX + 32  # r k v o; low-rank pairs of w a g; r_k
VALUE_RESIDUAL = 2 * MATRIX  # from layer 1 on
GATE = 4 * 64 * 32 + 4 * 64
CRITIC = 128 * 32 + 2 * 64 * 128 + (1 + 4) * 64
RECURRENCE = 9 * 16 * 32
DEEP_EMBED = 256 * 32 + MATRIX + 32 * 256 + 2 * MATRIX  # qq k1 k2 v1 v2; a look-up in the tables costs none
RWKV_EXPERT = 2 * (2 * 32 * 128)
BRIDGE = 2 * (64 * 64 + 64 * 3 * 4 + 3 * 4 * 32)
TRANSFORMER_EXPERT = 2 * (3 * MATRIX + 2 * 3 * MATRIX + 2 * 3 * 32)  # q o gate; K and V of 3 rows; scores and mix


def _cost(kind: str = "v21", **groups: dict) -> ModelCost:
    with torch.device("meta"):
        return model_cost(LanguageModel(small_run(kind, **groups)))


def test_flops_of_a_tiny_model_worked_out_by_hand() -> None:
    cost = _cost()
    assert cost.expert_flops == [RWKV_EXPERT] * 3 + [TRANSFORMER_EXPERT + BRIDGE]
    layers = 2 * (TIME_MIX + GATE + CRITIC) + VALUE_RESIDUAL
    assert cost.other_flops == 2 * (HEAD + layers) + 2 * RECURRENCE
    mean_expert = (3 * RWKV_EXPERT + TRANSFORMER_EXPERT + BRIDGE) / 4
    assert cost.flops_per_token(n_layer=2, top_k=2) == cost.other_flops + 2 * 2 * mean_expert


def test_a_head_of_its_own_costs_the_same_and_no_critic_costs_nothing() -> None:
    cost = _cost()
    assert _cost(model={"tie_embeddings": False}).other_flops == cost.other_flops
    assert _cost("off").other_flops == cost.other_flops - 2 * 2 * CRITIC


@pytest.mark.parametrize("shared", [True, False])
def test_deep_embed_attention_costs_its_matrices(shared: bool) -> None:
    with_attention = _cost(model={"deep_embed_attention": True, "deep_embed_shared": shared})
    assert with_attention.other_flops == _cost().other_flops + 2 * 2 * DEEP_EMBED


def test_parameters_of_a_tiny_model_worked_out_by_hand() -> None:
    time_mix = TIME_MIX + 6 * 32 + 2 * 32 + 2 * 32 + 2 * 32  # token shifts, w0 a0, k_k k_a, ln_x
    gate, critic = GATE + 4 * 64 + 4, CRITIC + 128 + 2 * 128 + 2 * 64 + 1 + 4
    rwkv, transformer = 2 * 32 * 128 + 32, 5 * MATRIX + 32
    bridge = 2 * 32 + 64 * 64 + 2 * 64 + 64 * 12 + 32 * 4 + 3 * 32 + 2 * 32
    experts, norms = 3 * rwkv + transformer, 2 * 2 * 32
    cost = _cost()
    layers = 2 * (norms + time_mix + gate + critic + experts) + VALUE_RESIDUAL + 32
    assert cost.total_params == HEAD + norms + bridge + layers
    assert cost.active_params == cost.total_params - 2 * experts // 2
    assert _cost(router={"top_k": 1}).active_params == cost.total_params - 2 * experts * 3 // 4


def test_the_published_figures_of_the_04b_preset() -> None:
    """FFN expert 16.8 MFLOP/token; Transformer expert 207.8 + bridge 27.3 = 235.1: 14.0 times as much."""
    with hydra_ready():
        config = run_config("model=0.4b")
    with torch.device("meta"):
        model = LanguageModel(config)
    cost = model_cost(model)
    millions = [round(flops / 1e6, 1) for flops in cost.expert_flops]
    assert millions == [16.8] * 6 + [235.1] * 2
    assert model.bridge is not None
    assert round(model.bridge.flops_per_token / 1e6, 1) == 27.3
    assert round(model.blocks[0].mixture.expert_list()[7].flops_per_token / 1e6, 1) == 207.8
    assert round(cost.expert_flops[7] / cost.expert_flops[0], 1) == 14.0


@pytest.mark.parametrize("expert", [RwkvFeedForward(32, 96, layer_id=0, n_layer=2), TransformerPrefix(32, 16, 3)])
def test_an_expert_does_the_operations_it_names(expert: Expert) -> None:
    n, counter = 5, FlopCounterMode(display=False)
    context = ExpertContext(torch.randn(n, 32), torch.randn(n, 3, 32))
    with counter, sdpa_kernel(SDPBackend.MATH):
        expert(torch.randn(n, 32), context)
    assert counter.get_total_flops() == n * expert.flops_per_token


def test_the_bridge_does_the_operations_it_names() -> None:
    bridge, counter = LinearStateBridge(32, 3, 4), FlopCounterMode(display=False)
    with counter:
        bridge(torch.randn(5, 32), torch.randn(5, 32))
    assert counter.get_total_flops() == 5 * bridge.flops_per_token
