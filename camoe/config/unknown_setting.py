"""Refusing a name that the schema does not have, with where it does exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from camoe.config.refusal import ConfigError, no_such_setting
from camoe.config.run import RunConfig
from camoe.config.schema_store import SCHEMAS_BY_KIND


def unknown_setting(path: str, siblings: Iterable[str]) -> ConfigError:
    """The refusal of `path`, whose parent holds `siblings`."""
    parent, _, name = path.rpartition(".")
    siblings = [str(sibling) for sibling in siblings]
    others = _kinds_with(name, SCHEMAS_BY_KIND.get(parent, {}))
    if others:
        owners = f"{parent}={', '.join(others)}"
        return ConfigError(f"{path}: no such setting in the chosen {parent}; it belongs to {owners}")
    elsewhere = [known for known in sorted(all_settings()) if known.rpartition(".")[2] == name]
    if elsewhere:
        return ConfigError(f"{path}: no such setting; did you mean {' or '.join(elsewhere[:3])}?")
    return no_such_setting(path, siblings)


def all_settings() -> set[str]:
    """Dotted path of every setting of every economy and router; phases, which are named in YAML, are left out."""
    by_kind = ((group, schema) for group, schemas in SCHEMAS_BY_KIND.items() for schema in schemas.values())
    return _leaves(RunConfig, "").union(*(_leaves(schema, f"{group}.") for group, schema in by_kind))


def _leaves(schema: type[Any], prefix: str) -> set[str]:
    hints = get_type_hints(schema)
    found: set[str] = set()
    for definition in fields(schema):
        annotation = hints[definition.name]
        path = prefix + definition.name
        found |= _leaves(annotation, f"{path}.") if is_dataclass(annotation) else {path}  # type: ignore[arg-type]
    return found


def _kinds_with(name: str, schemas: Mapping[str, type[Any]]) -> list[str]:
    return [kind for kind, schema in schemas.items() if name in {field.name for field in fields(schema)}]
