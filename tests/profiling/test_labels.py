"""Labels show which room runs, change no result, and leave nothing behind."""

import torch
from torch.profiler import ProfilerActivity, profile

from camoe.model.language_model import LanguageModel
from camoe.model.rooms import LABEL, room_modules
from camoe.profiling.labels import labelled
from tests.small_run import small_run


def test_a_labelled_model_computes_the_same_and_shows_its_rooms() -> None:
    model, tokens = LanguageModel(small_run()), torch.randint(0, 256, (2, 16))
    with torch.no_grad():
        expected = model(tokens)[0]
        with labelled(model), profile(activities=[ProfilerActivity.CPU]) as profiler:
            got = model(tokens)[0]
    assert torch.equal(got, expected)
    seen = {event.name.removeprefix(LABEL) for event in profiler.events() or () if event.name.startswith(LABEL)}
    assert seen == {name for name, _ in room_modules(model)}


def test_without_labels_the_model_is_as_before() -> None:
    model = LanguageModel(small_run())
    vars(model.blocks[0].att)["project"] = own = model.blocks[1].att.project  # as compiled methods lie
    before = [dict(vars(module)) for module in model.modules()]
    with labelled(model):
        assert vars(model.blocks[0].att)["project"] is not own
        assert any(set(vars(module)) != set(old) for module, old in zip(model.modules(), before, strict=True))
    assert all(vars(module).keys() == old.keys() for module, old in zip(model.modules(), before, strict=True))
    assert vars(model.blocks[0].att)["project"] is own
