"""Every parameter lies in a room, and rooms nest."""

from camoe.config.experts import KINDS
from camoe.model.language_model import LanguageModel
from camoe.model.rooms import OF_THE_MODEL, current_room, room, room_modules
from tests.small_run import small_run


def test_every_parameter_lies_in_a_room() -> None:
    found: set[str] = set()
    every_kind = {**dict.fromkeys(KINDS, 1), "shared": 1, "hidden": 16}
    for config in (
        small_run(model={"deep_embed_attention": True, "tie_embeddings": False}, experts=every_kind),
        small_run(model={"layers": "top", "attention_ratio": 0.5}, experts={"rwkv_ffn": 4, "transformer_prefix": 0}),
    ):
        model = LanguageModel(config)
        inside = {id(p) for _, module in room_modules(model) for p in module.parameters()}
        assert inside == {id(parameter) for parameter in model.parameters()}
        found.update(name for name, _ in room_modules(model))
    assert found == set(OF_THE_MODEL)


def test_the_innermost_room_counts_and_an_error_leaves_it() -> None:
    try:
        with room("block"):
            with room("router"):
                assert current_room() == "router"
            assert current_room() == "block"
            raise KeyError
    except KeyError:
        assert current_room() == ""
