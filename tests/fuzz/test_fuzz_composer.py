"""Any overrides: a configuration, or one line that refuses them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from camoe.config import ConfigError
from camoe.config.named_paths import check_named_paths
from camoe.config.option_catalog import CONF, groups, options
from camoe.config.post_mortem import COMPOSITION_ERRORS, explain
from camoe.config.resolve import resolve
from camoe.config.schema_store import register_with_hydra
from camoe.config.unknown_setting import all_settings
from tests.fuzz.damage import refuse_more_lines

pytestmark = pytest.mark.slow
VALUES = (
    "0",
    "-1",
    "1",
    "3",
    "1e400",
    "nan",
    "''",
    "null",
    "[]",
    "[1]",
    "{}",
    "{a:1}",
    "???",
    "${seed}",
    "${nope}",
    "true",
)
SETTINGS = sorted(setting for setting in all_settings() if "." in setting)
VALUE = st.sampled_from(VALUES) | st.integers().map(str) | st.text(max_size=6)
CHOICE = st.sampled_from(sorted(groups())).flatmap(
    lambda g: st.sampled_from(sorted(options(g))).map(lambda o: f"{g}={o}")
)
OVERRIDE = st.builds(
    lambda sign, name, value: f"{sign}{name}={value}",
    st.sampled_from(["", "", "+", "++"]),
    st.sampled_from(SETTINGS),
    VALUE,
)


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    """Ready to compose."""
    register_with_hydra()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(overrides=st.lists(CHOICE | OVERRIDE, min_size=1, max_size=4))
@example(overrides=["experts.rwkv_ffn=1000000000"])
@example(overrides=["model.n_layer=99999999999999999999999"])
def test_any_overrides(overrides: list[str]) -> None:
    try:
        composition = compose(config_name="config", overrides=overrides)
    except COMPOSITION_ERRORS as error:
        arguments = Namespace(overrides=overrides, multirun=False, config_name=None, config_dir=None, config_path=None)
        refuse_more_lines(ConfigError(explain(error, arguments)))
        return
    try:
        check_named_paths(resolve(composition))
    except ConfigError as refusal:
        refuse_more_lines(refusal)
