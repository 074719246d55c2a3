"""Sizing against the published rule, its figures, and the published model counted layer by layer."""

from __future__ import annotations

import pytest

from camoe.profiling.sizing import Fit, Growth, published_hidden

# nominal size, C, L; the published rule's width and parameters of one gated expert; width for nominal active parameters
SCALES = {
    "1b": (10**9, 2048, 24, 30517, 129_191_936, 96.646, 1359),
    "4b": (4 * 10**9, 3072, 36, 81380, 509_435_904, 98.113, 3890),
    "40b": (40 * 10**9, 6144, 64, 406901, 5_037_748_224, 99.245, 15632),
    "200b": (200 * 10**9, 12288, 96, 1017252, 25_150_980_096, 99.396, 23051),
}
STORED = {"1b": 25_185_300_480, "4b": 147_807_756_288, "40b": 2_586_285_060_096, "200b": 19_356_449_071_104}
VOCABULARY, EXPERTS, WINNERS = 50_272, 8, 2


def _published_model(n_embd: int, n_layer: int, hidden: int, experts_counted: int) -> int:
    """Parameters of the published model with a quarter of attention layers, `experts_counted` experts in every layer.

    Tied embedding; receptance, weight, key, value and output matrices and two vectors in RWKV layers, fused qkv and
    output in attention layers; a gate matrix and two norms in each, one norm at the end; experts with key and value,
    and in RWKV layers a receptance matrix.
    """
    attention, square = n_layer // 4, n_embd * n_embd
    rwkv = n_layer - attention
    mixers = rwkv * (5 * square + 2 * n_embd) + attention * 4 * square
    around = n_layer * (EXPERTS * n_embd + 2 * 2 * n_embd) + 2 * n_embd
    experts = experts_counted * (n_layer * 2 * n_embd * hidden + rwkv * square)
    return VOCABULARY * n_embd + mixers + around + experts


@pytest.mark.parametrize("scale", SCALES)
def test_the_published_rule_and_its_experts(scale: str) -> None:
    nominal, n_embd, n_layer, hidden, params, accuracy, _ = SCALES[scale]
    assert published_hidden(nominal, EXPERTS, n_embd) == hidden
    assert 2 * n_embd * hidden + n_embd**2 == params
    target = nominal // EXPERTS
    assert 100 * (1 - abs(params - target) / target) == pytest.approx(accuracy, abs=1e-3)  # not the share itself
    assert _published_model(n_embd, n_layer, hidden, EXPERTS) == STORED[scale]


def test_the_published_rule_never_narrows_the_model() -> None:
    assert published_hidden(8 * 2048 * 100, 8, 2048) == 2048


@pytest.mark.parametrize("scale", SCALES)
def test_widths_for_nominal_active_parameters(scale: str) -> None:
    nominal, n_embd, n_layer, *_, width = SCALES[scale]
    low, high = (_published_model(n_embd, n_layer, hidden, WINNERS) for hidden in (64, 128))
    growth = Growth.between(64, low, 128, high)
    assert round(growth.hidden(nominal)) == width
    fit = Fit(growth, nominal)
    assert fit.feasible
    assert fit.hidden == round(width / 64) * 64
    assert fit.params == _published_model(n_embd, n_layer, fit.hidden, WINNERS)


def test_stored_is_feasible_where_the_rest_leaves_room() -> None:
    answers = {}
    for scale, (nominal, n_embd, n_layer, *_) in SCALES.items():
        low, high = (_published_model(n_embd, n_layer, hidden, EXPERTS) for hidden in (64, 128))
        answers[scale] = Fit(Growth.between(64, low, 128, high), nominal)
    assert {scale: fit.feasible for scale, fit in answers.items()} == {
        "1b": False,
        "4b": True,
        "40b": True,
        "200b": True,
    }
    assert str(answers["1b"]) == "infeasible: without any hidden unit there are 1.19G"
    assert str(answers["40b"]).startswith("experts.hidden=")


def test_a_step_of_64_may_be_too_coarse() -> None:
    fit = Fit(Growth(fixed=100.0, per_unit=1.0), nominal=200.0)
    assert not fit.feasible
    assert str(fit) == "infeasible: experts.hidden=128, the nearest multiple of 64, gives 228 (+14%)"
    assert Fit(Growth(fixed=100.0, per_unit=1.0), nominal=229.0).feasible
    assert Fit(Growth(fixed=100.0, per_unit=1.0), nominal=120.0).hidden == 64
