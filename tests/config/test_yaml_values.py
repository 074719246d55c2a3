"""The files of conf/: a comment that says what each is for, and no copy of a default that the schema states."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf

from camoe.config.option_catalog import CONF, first_comment, groups, options
from camoe.config.phase import PhaseConfig
from camoe.config.router import ROUTERS
from camoe.config.run import RunConfig
from camoe.config.schema_store import SCHEMAS_BY_KIND

FILES = sorted(path for group in groups() for path in (CONF / group).glob("*.yaml"))


def test_groups_and_options() -> None:
    assert {group: sorted(options(group)) for group in groups()} == {
        "model": [
            "0.4b",
            "0.4b_toy",
            "cdrmix_1b",
            "cdrmix_200b",
            "cdrmix_40b",
            "cdrmix_4b",
            "golf",
            "golf_small",
            "mini",
            "pilot",
            "tiny",
        ],
        "experts": ["0r4t", "2r2t", "3r1t", "4r0t", "6r2t", "8r0t", "cdrmix", "moepp", "shared", "swiglu4"],
        "router": sorted((*ROUTERS, "cdrmix", "golf")),
        "economy": ["calibrated", "off", "pilot", "v18", "v21"],
        "phase": ["flat", "flat_long", "pilot", "seven", "seven_toy", "tiny", "v18"],
        "data": ["fineweb_cosmopedia", "local", "preferences", "python_stdlib", "tinystories", "ultrachat"],
        "tokenizer": ["bpe", "bpe1k", "bpe50k", "byte", "rwkv_world"],
        "optimizer": ["adamw", "adamw8bit", "muon"],
        "averaging": ["ema", "none", "swa"],
        "kernel": ["auto", "chunked", "cuda", "native", "reference"],
        "job": [
            "checkpoint",
            "evaluate",
            "export",
            "export_rwkv",
            "generate",
            "plan",
            "prepare_data",
            "profile",
            "replay_batch",
            "status",
            "sync_tracking",
            "train",
            "train_tokenizer",
        ],
        "tracking": ["local", "mlflow"],
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_opens_with_what_it_is_for(path: Path) -> None:
    directive, *rest = path.read_text().splitlines()
    first = rest[0] if directive == "# @package _global_" else directive
    assert first == f"# {first_comment(path)}"
    assert len(first) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_states_no_default_of_the_schema(path: Path) -> None:
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    schema: type[Any] = RunConfig
    if not path.read_text().startswith("# @package _global_"):
        schema = get_type_hints(RunConfig)[path.parent.name]
    if path.parent.name in SCHEMAS_BY_KIND and "defaults" in values:
        schema = SCHEMAS_BY_KIND[path.parent.name][values["defaults"][0].removeprefix("_")]
    copies = copied_defaults(values, schema, "")
    assert not copies


def copied_defaults(values: dict[Any, Any], schema: type[Any], prefix: str) -> list[str]:
    """Settings whose value is the schema's own default; a name that the schema lacks fails."""
    definitions = {field.name: field for field in fields(schema)}
    hints = get_type_hints(schema)
    copies = []
    for name, value in values.items():
        if name == "defaults":
            continue
        if name == "schedule" and schema is not RunConfig:
            for phase, settings in value.items():
                copies += copied_defaults(settings, PhaseConfig, f"{phase}.")
        elif is_dataclass(hints[name]):
            copies += copied_defaults(value, hints[name], f"{name}.")  # type: ignore[arg-type]
        elif definitions[name].default is not MISSING and definitions[name].default == value:
            copies.append(prefix + name)
    return copies


def test_copied_default_is_found() -> None:
    assert copied_defaults({"model": {"n_embd": 128, "n_layer": 5}}, RunConfig, "") == ["model.n_embd"]
    assert copied_defaults({"schedule": {"a": {"critic": 1.0}}}, get_type_hints(RunConfig)["phase"], "") == ["a.critic"]
