"""Every parameter belongs to exactly one phase group."""

import pytest

from camoe.config.phase import PARAMETER_GROUPS
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from tests.small_run import small_run


@pytest.mark.parametrize("deep_embed_shared", [None, True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_groups_part_the_parameters(deep_embed_shared: bool | None, tied: bool) -> None:
    settings = {"tie_embeddings": tied, "deep_embed_attention": deep_embed_shared is not None}
    model = LanguageModel(small_run(model={**settings, "deep_embed_shared": bool(deep_embed_shared)}))
    groups = parameter_groups(model)
    placed = [name for members in groups.values() for name in members]
    assert sorted(placed) == sorted(name for name, _ in model.named_parameters())
    assert set(groups) == set(PARAMETER_GROUPS)
    assert all(members for members in groups.values())
    assert all(".mixture.experts." in name for name in groups["transformer_experts"])
    assert all(".mixture.experts." in name for name in groups["rwkv_experts"])
    # 2 layers: 1 Transformer expert of 5 matrices and a bias, 3 RWKV experts of 2 matrices and a token shift.
    assert (len(groups["transformer_experts"]), len(groups["rwkv_experts"])) == (2 * 6, 2 * 3 * 3)


def test_the_transformer_expert_is_told_from_the_rwkv_experts() -> None:
    groups = parameter_groups(LanguageModel(small_run()))
    assert {name.split(".")[4] for name in groups["transformer_experts"]} == {"3"}
    assert {name.split(".")[4] for name in groups["rwkv_experts"]} == {"0", "1", "2"}
