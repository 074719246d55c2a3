from __future__ import annotations

import re

import pytest

from camoe.tracking.metric_definitions import (
    BY_RECORDED_NAME,
    DEFINITIONS,
    WORST,
    UndefinedMetricWarning,
    markdown_table,
    undefined_names,
    warn_if_undefined,
)

PUBLISHED = {  # names of the published code and of the routing literature, and ours for them
    "MarketAlpha": "market/alpha",
    "WinnerFromAdjustedEntropy": "routing/winner_from_adjusted_entropy",
    "WeightEntropy": "routing/weight_entropy",
    "AssetVelocity": "market/asset_velocity",
    "QE": "market/qe_inject",
    "QT": "market/qe_drain",
    "VC": "market/vc_inject",
    "taxes": "market/taxes",
    "Gini": "market/gini",
    "critic purse": "critic/purse",
    "debt": "critic/debt",
    "bailouts": "critic/bailouts",
    "accuracy": "critic/accuracy",
    "expert shares": "market/capital_share/by_expert",
    "trans_share": "routing/trans_share",
    "bpb": "valid/bpb",
    "maxvio_global": "final/maxvio_global",
    "peak memory": "time/peak_memory",
}


def test_every_name_is_stable_snake_case_in_a_room() -> None:
    for name in BY_RECORDED_NAME:
        assert re.fullmatch(r"[a-z_]+/[a-z][a-z0-9_]*(/(worst|by_layer|by_expert))?", name), name


def test_no_name_is_defined_twice() -> None:
    names = [name for row in DEFINITIONS for name in row.names()]
    assert len(names) == len(set(names))


def test_every_definition_has_words_unit_and_range() -> None:
    for row in DEFINITIONS:
        assert row.definition, row.name
        assert row.unit, row.name
        assert row.range, row.name
        assert row.worst in ("max", "min"), row.name


@pytest.mark.parametrize(("theirs", "ours"), PUBLISHED.items())
def test_published_metrics_are_there(theirs: str, ours: str) -> None:
    assert ours in BY_RECORDED_NAME, theirs


def test_an_unknown_name_warns_with_the_nearest_one() -> None:
    with pytest.warns(UndefinedMetricWarning, match="did you mean market/alpha"):
        warn_if_undefined(["market/alpa"])
    assert undefined_names(["market/alpha", f"market/gini/{WORST}", "market/alpha/worst"]) == ["market/alpha/worst"]


def test_markdown_table_has_a_row_per_definition_and_intact_columns() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == len(DEFINITIONS) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
