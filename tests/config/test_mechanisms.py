"""Every mechanism of economy=calibrated is a group: its options compose, sweep, and are refused elsewhere."""

from __future__ import annotations

from dataclasses import fields

import pytest
from compositions import run_config
from omegaconf import OmegaConf

from camoe.config import ConfigError
from camoe.config.calibrated import CalibratedConfig
from camoe.config.group_choice import check_choices
from camoe.config.option_catalog import CONF, first_comment, mechanisms, options
from camoe.config.schema_store import ECONOMY_SCHEMAS

pytestmark = pytest.mark.usefixtures("hydra")
OPTIONS = [(group, option) for group in mechanisms() for option in options(group)]


def test_every_mechanism_is_a_group_and_every_group_a_mechanism() -> None:
    folders = {f"economy/{path.name}" for path in (CONF / "economy").iterdir() if path.is_dir()}
    assert set(mechanisms()) == folders
    assert folders == {f"economy/{field.name}" for field in fields(CalibratedConfig) if field.name != "kind"}


def test_the_options() -> None:
    assert {group.removeprefix("economy/"): sorted(options(group)) for group in mechanisms()} == {
        "bid": ["logits", "score"],
        "price": ["none", "vickrey"],
        "credit": ["advantage", "gradient", "leave_one_out", "midpoint", "replacement_audit", "token_loss"],
        "capital": ["additive", "hedge"],
        "wealth_tax": ["none", "threshold"],
        "idle_tax": ["none", "venture_pot"],
        "ventures": ["critic", "none", "ucb"],
        "floor": ["none", "water_filling"],
        "bank": ["elastic", "entropy", "none"],
        "congestion": ["none", "pid", "proportional", "quantile", "sign"],
        "compute": ["budget", "equal", "none"],
        "alpha": ["agreement", "fixed", "holdout"],
        "critic": ["log_scoring", "unsettled", "untrained"],
        "ledger": ["rows", "totals"],
        "placebo": ["frozen", "none", "shadow", "shuffled"],
    }


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda word: word.removeprefix("economy/"))
def test_option_is_the_default_or_differs_from_it(group: str, option: str) -> None:
    path, name = CONF / group / f"{option}.yaml", group.removeprefix("economy/")
    assert path.read_text().startswith(f"# {first_comment(path)}\n")
    default = getattr(CalibratedConfig(), name)
    merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(type(default)), OmegaConf.load(path)))
    assert (merged == default) == (defaults()[name] == option)


def defaults() -> dict[str, str]:
    """Option of each mechanism in economy=calibrated."""
    _, *entries = OmegaConf.load(CONF / "economy" / "calibrated.yaml").defaults
    return {name: option for entry in entries for name, option in entry.items()}


@pytest.mark.parametrize("choice", ["congestion=sign", "alpha=fixed", "placebo=frozen"])
def test_choice_changes_its_own_mechanism_only(choice: str) -> None:
    chosen, default = run_config("economy=calibrated", f"economy/{choice}").economy, CalibratedConfig()
    changed = {field.name for field in fields(chosen) if getattr(chosen, field.name) != getattr(default, field.name)}
    assert changed == {choice.partition("=")[0]}


def test_default_composition_is_the_schema() -> None:
    assert run_config("economy=calibrated").economy == CalibratedConfig()
    assert ECONOMY_SCHEMAS["calibrated"] is CalibratedConfig


def test_a_mechanism_chosen_twice_is_refused() -> None:
    overrides = ["economy=calibrated", "economy/congestion=sign", "economy/congestion=pid"]
    choices = {"economy": "calibrated", "economy/congestion": "pid"}
    with pytest.raises(ConfigError, match="economy/congestion: chosen 2 times"):
        check_choices(_all_choices() | choices, overrides)


def _all_choices() -> dict[str, str]:
    from camoe.config.option_catalog import groups

    return {group: next(iter(options(group))) for group in (*groups(), *mechanisms())}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["economy.alpha.least=3"], "economy.alpha.least: 3.0 is above economy.alpha.largest 2.0"),
        (["economy.bank.entropy_min=0.99"], "economy.bank.entropy_min: 0.99 is above economy.bank.entropy_max 0.98"),
        (["economy/bid=score"], "economy.bid.space: score .* router.gate_activation=identity"),
        (["router=market_only"], "router.kind: market_only .* economy.kind calibrated"),
        (["router.top_k=4"], "router.top_k: 4 of 4 experts .* economy.kind calibrated"),
        (["economy.credit.half_life=0"], "economy.credit.half_life: 0.0 is not allowed; must be above 0"),
        (["economy.congestion.kind=signs"], "economy.congestion.kind: no option 'signs'; did you mean sign?"),
    ],
)
def test_refusals(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_config("economy=calibrated", *overrides)
