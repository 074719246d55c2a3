"""Which layers stand for which."""

from __future__ import annotations

from collections import Counter

import pytest

from camoe.profiling.representative_layers import RepresentativeLayers
from tests.small_run import small_run

R, A = False, True


@pytest.mark.parametrize(
    ("kinds", "chosen", "missing"),
    [
        ([R], [R], {}),
        ([R, R, R, R], [R, R], {R: 2}),
        ([R, R, R, A], [R, R, A], {R: 1}),
        ([R, A, R, A, A, R], [R, A, R], {R: 1, A: 2}),
        ([A, R, R, A], [A, R, A], {R: 1}),
        ([A, R, R], [A, R], {R: 1}),
        ([A, A], [A, A], {}),
    ],
)
def test_the_first_and_one_of_each_kind(kinds: list[bool], chosen: list[bool], missing: dict[bool, int]) -> None:
    layers = RepresentativeLayers.of(kinds)
    assert list(layers.kinds) == chosen
    assert layers.missing == Counter(missing)
    assert layers.kinds[-1] == kinds[-1]
    assert all(layers.example(kind) > 0 for kind in layers.missing)


def test_the_shallow_run_has_these_layers() -> None:
    deep = small_run(model={"n_layer": 24, "layers": "hybrid"}, experts={"rwkv_ffn": 4, "transformer_prefix": 0})
    layers = RepresentativeLayers.of_run(deep)
    shallow = layers.shallow(deep).model
    assert (shallow.n_layer, shallow.attention_layers) == (3, (2,))
    assert layers.missing == Counter({R: 24 - 6 - 2, A: 5})
    assert RepresentativeLayers.of_run(small_run()).shallow(small_run()).model.attention_layers == ()
