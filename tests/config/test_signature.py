"""The signature changes with every setting that can change results, and with no other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from compositions import run_config

from camoe.config.run import RunConfig
from camoe.config.signature import signature

WITHOUT_RESULTS = {
    "seed",
    "name",
    "output_dir",
    "resume",
    "sweep",
    "arm",
    "diagnostics",
    "force",
    "retry",
    "data.cache_dir",
    "kernel.allocator",
    "evaluation.domain_field",
    "evaluation.tasks",
    "evaluation.task_data",
    "evaluation.limit",
    "evaluation.group_field",
    "train.self_check",
    "train.checkpoint_every",
    "train.keep_checkpoints",
}
pytestmark = pytest.mark.usefixtures("hydra")


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Dotted path, holder and name of every setting."""
    entries = node if isinstance(node, dict) else [field.name for field in fields(node)]
    for name in entries:
        value = node[name] if isinstance(node, dict) else getattr(node, name)
        if is_dataclass(value) or isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", node, name


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value, "x"]
    return "x" if value is None else value + 1


def affects_results(path: str) -> bool:
    return path not in WITHOUT_RESULTS and not path.startswith(("job.", "tracking.", "analysis.", "parallel."))


@pytest.mark.parametrize("economy", ["off", "v18", "v21"])
def test_every_setting(economy: str) -> None:
    config = run_config(f"economy={economy}")
    original = signature(config)
    paths = [path for path, _, _ in leaves(config)]
    assert {path for path in WITHOUT_RESULTS if path not in paths} == set()
    for path in paths:
        other: RunConfig = copy.deepcopy(config)
        holder, name = next((holder, name) for found, holder, name in leaves(other) if found == path)
        setattr(holder, name, changed(getattr(holder, name)))
        assert (signature(other) != original) == affects_results(path), path


def test_same_settings_same_signature_whatever_the_route() -> None:
    assert signature(run_config("model=pilot", "seed=2")) == signature(
        run_config("seeds.init=2", "seeds.data=2", "seeds.router_noise=2", "model=pilot", "name=other")
    )


def test_order_of_phases_counts() -> None:
    config = run_config("phase=seven")
    other = copy.deepcopy(config)
    other.phase.schedule = dict(reversed(config.phase.schedule.items()))
    assert signature(other) != signature(config)


def test_is_short_and_fit_for_a_folder_name() -> None:
    text = signature(run_config())
    assert len(text) == 10
    assert int(text, 16) >= 0
