"""Any option of one group composes with any of another, or is refused in a line that names both.

The quick suite takes every fifth row.
"""

from __future__ import annotations

from itertools import combinations, product

import pytest
from compositions import REFUSED_PAIRS, covered_options, covering_rows, needed_by, run_config, said

from camoe.config import ConfigError, RunConfig
from camoe.config.option_catalog import groups

ROWS = covering_rows()


def test_rows_hold_every_pair() -> None:
    """Guards the search for rows itself: an uncovered pair would be an untested one."""
    choices = [[f"{group}={option}" for option in covered_options(group)] for group in groups()]
    pairs = {frozenset(pair) for one, other in combinations(choices, 2) for pair in product(one, other)}
    covered = {frozenset(pair) for row in ROWS for pair in combinations(row, 2)}
    assert pairs - covered == REFUSED_PAIRS
    assert len(choices) == 12


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=[pytest.mark.slow] if number % 5 else [], id=",".join(row))
        for number, row in enumerate(ROWS)
    ],
)
def test_row_composes_and_resolves(row: list[str]) -> None:
    config = run_config(*row, *needed_by(row))
    assert isinstance(config, RunConfig)
    chosen = dict(choice.split("=") for choice in row)
    kinds = {"job": config.job.name, "router": config.router.kind, "tokenizer": config.tokenizer.kind}
    assert {group: said(f"{group}={chosen[group]}") for group in kinds} == kinds


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("pair", sorted(sorted(pair) for pair in REFUSED_PAIRS), ids=",".join)
def test_refused_pair_is_named(pair: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        run_config(*pair)
    text = str(refusal.value)
    assert "\n" not in text
    for choice in pair:
        assert choice.partition("=")[0] in text
        assert said(choice) in text
