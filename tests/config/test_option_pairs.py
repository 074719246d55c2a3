"""Any option of one group composes with any of another, or is refused in a line that names both."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from compositions import REFUSED_PAIRS, covering_rows, needed_by, run_config

from camoe.config import ConfigError, RunConfig
from camoe.config.option_catalog import groups, options

ROWS = covering_rows()


def test_rows_hold_every_pair() -> None:
    """Guards the search for rows itself: an uncovered pair would be an untested one."""
    choices = [[f"{group}={option}" for option in options(group)] for group in groups()]
    pairs = {frozenset(pair) for one, other in combinations(choices, 2) for pair in product(one, other)}
    covered = {frozenset(pair) for row in ROWS for pair in combinations(row, 2)}
    assert pairs - covered == REFUSED_PAIRS
    assert len(choices) == 12


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: ",".join(row))
def test_row_composes_and_resolves(row: list[str]) -> None:
    config = run_config(*row, *needed_by(row))
    assert isinstance(config, RunConfig)
    assert f"job={config.job.name}" in row
    assert f"router={config.router.kind}" in row
    assert f"tokenizer={config.tokenizer.kind}" in row


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("pair", sorted(sorted(pair) for pair in REFUSED_PAIRS), ids=",".join)
def test_refused_pair_is_named(pair: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        run_config(*pair)
    text = str(refusal.value)
    assert "\n" not in text
    for choice in pair:
        group, _, option = choice.partition("=")
        assert group in text
        assert option in text
