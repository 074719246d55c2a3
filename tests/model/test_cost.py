"""Parameters and FLOPs, against a tiny model worked out by hand and the published preset."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from camoe.model.bridge import LinearStateBridge
from camoe.model.cost import ModelCost, model_cost, room_costs
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
BRIDGE = 2 * (64 * 64 + 64 * 3 * 4)
TRANSFORMER_EXPERT = 2 * (3 * MATRIX + 2 * 32 * (4 + 3) + 2 * 2 * 3 * 4 + 3 * 4 * 4)
# q o gate; through the factors of keys and values; scores and mix of 2 heads over 3 rows; deviations


def _cost(kind: str = "v21", **groups: dict) -> ModelCost:
    with torch.device("meta"):
        return model_cost(LanguageModel(small_run(kind, **groups)))


def test_flops_of_a_tiny_model_worked_out_by_hand() -> None:
    cost = _cost()
    assert cost.expert_flops == [[RWKV_EXPERT] * 3 + [TRANSFORMER_EXPERT + BRIDGE]] * 2
    assert cost.bridge_flops == BRIDGE
    layers = 2 * (TIME_MIX + GATE + CRITIC) + VALUE_RESIDUAL
    assert cost.other_flops == 2 * (HEAD + layers) + 2 * RECURRENCE
    two_winners = (3 * RWKV_EXPERT + TRANSFORMER_EXPERT) / 2
    assert cost.flops_per_token(n_layer=2, top_k=2) == cost.other_flops + 2 * (two_winners + BRIDGE / 2)


def test_the_bridge_is_counted_once_for_a_token_with_two_transformer_winners() -> None:
    """2 RWKV + 2 Transformer, top-2: of the six pairs five hold a Transformer expert."""
    cost = _cost(experts={"rwkv_ffn": 2, "transformer_prefix": 2})
    experts = RWKV_EXPERT + TRANSFORMER_EXPERT
    assert cost.flops_per_token(n_layer=2, top_k=2) == cost.other_flops + 2 * (experts + BRIDGE * (1 - 1 / 6))
    alone = _cost(experts={"rwkv_ffn": 0, "transformer_prefix": 3})
    assert alone.flops_per_token(2, 2) == alone.other_flops + 2 * (2 * TRANSFORMER_EXPERT + BRIDGE)
    none = _cost(experts={"rwkv_ffn": 4, "transformer_prefix": 0})
    assert none.flops_per_token(2, 2) == none.other_flops + 2 * 2 * RWKV_EXPERT


def test_a_head_of_its_own_costs_the_same_and_no_critic_costs_nothing() -> None:
    cost = _cost()
    assert _cost(model={"tie_embeddings": False}).other_flops == cost.other_flops
    assert _cost("off").other_flops == cost.other_flops - 2 * 2 * CRITIC


@pytest.mark.parametrize("shared", [True, False])
def test_deep_embed_attention_costs_its_matrices_and_what_it_looks_back_at(shared: bool) -> None:
    with_attention = _cost(model={"deep_embed_attention": True, "deep_embed_shared": shared})
    per_token_seen = 2 * (256 + 32)
    assert with_attention.other_flops == _cost().other_flops + 2 * (2 * DEEP_EMBED + per_token_seen * 17 // 2)


def test_attention_takes_the_place_of_time_mixing_in_its_layers() -> None:
    """Of the 16 tokens of a sequence one sees 1, 2, ... 16: 8.5 on average."""
    mix = {"experts": {"rwkv_ffn": 4, "transformer_prefix": 0}}
    plain, half, whole = (
        _cost(**mix, model={} if not layers else {"layers": "explicit", "attention_indices": layers})
        for layers in ([], [1], [0, 1])
    )
    attention = 2 * 4 * MATRIX + 4 * 32 * 17 // 2
    assert half.other_flops == plain.other_flops - (2 * (TIME_MIX + VALUE_RESIDUAL) + RECURRENCE) + attention
    assert whole.other_flops == half.other_flops - (2 * TIME_MIX + RECURRENCE) + attention
    longer = _cost(**mix, model={"layers": "top", "attention_ratio": 1.0}, train={"ctx_len": 32})
    assert longer.other_flops == whole.other_flops + 2 * 4 * 32 * 16 // 2
    lowest = _cost(**mix, model={"layers": "explicit", "attention_indices": [0]})
    assert lowest.other_flops == half.other_flops  # the first TimeMix has no value residual, whichever layer it is


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


def test_rooms_of_a_tiny_model_worked_out_by_hand() -> None:
    with torch.device("meta"):
        rooms = room_costs(LanguageModel(small_run()))
    assert rooms["embedding"].params == HEAD + 2 * 32
    assert rooms["head_loss"].params == 2 * 32
    assert rooms["head_loss"].flops == 2 * HEAD
    assert rooms["time_mix"].active_flops == 2 * (2 * TIME_MIX + VALUE_RESIDUAL) + 2 * RECURRENCE
    assert rooms["rwkv_ffn"].flops == 2 * 3 * RWKV_EXPERT
    assert rooms["rwkv_ffn"].active_flops == rooms["rwkv_ffn"].flops / 2
    assert rooms["bridge"].active_flops == 2 * BRIDGE / 2
    assert rooms["transformer_prefix"].active_params == rooms["transformer_prefix"].params / 2
    assert "deep_embed_attention" not in rooms


def test_the_figures_of_the_04b_preset() -> None:
    """FFN expert 16.8 MFLOP/token, Transformer expert 7.3 (query, output and gate 6.3), bridge 21.0: 1.7 times as much.

    With prefix, keys and values written out it would be 235.1: 14 times as much.
    """
    with hydra_ready():
        config = run_config("model=0.4b")
    with torch.device("meta"):
        cost = model_cost(LanguageModel(config))
    assert [round(flops / 1e6, 1) for flops in cost.expert_flops[0]] == [16.8] * 6 + [28.3] * 2
    assert round(cost.bridge_flops / 1e6, 1) == 21.0
    assert round(cost.expert_flops[0][7] / cost.expert_flops[0][0], 2) == 1.69


def _counted(expert: Expert, n: int) -> int:
    bridge, counter = LinearStateBridge(32, 3, 4), FlopCounterMode(display=False)
    context = ExpertContext(torch.randn(n, 32), torch.randn(n, 3, 4), bridge.prefix_map())
    with counter:
        expert(torch.randn(n, 32), context)
    return counter.get_total_flops()


@pytest.mark.parametrize("expert", [RwkvFeedForward(32, 96, layer_id=0, n_layer=2), TransformerPrefix(32, 16, 3, 4)])
def test_an_expert_does_the_operations_it_names(expert: Expert) -> None:
    """For each token more; what is prepared once per call is named in the expert."""
    assert _counted(expert, 30) - _counted(expert, 20) == 10 * expert.flops_per_token
    once = _counted(expert, 20) - 20 * expert.flops_per_token
    assert once == (2 * 32 * 32 * (2 * (3 + 4) + 1) if expert.needs_prefix else 0)


def test_the_bridge_does_the_operations_it_names() -> None:
    bridge, counter = LinearStateBridge(32, 3, 4), FlopCounterMode(display=False)
    with counter:
        bridge(torch.randn(5, 32), torch.randn(5, 32))
    assert counter.get_total_flops() == 5 * bridge.flops_per_token
