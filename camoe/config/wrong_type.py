"""Refusing a value of the wrong type: what was given, and what is expected, in words."""

from __future__ import annotations

from dataclasses import is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from omegaconf import OmegaConf

from camoe.config.refusal import ConfigError

NOUNS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    list[int]: "a list of integers",
    list[str]: "a list of texts",
}


def wrong_type(path: str, value: object, annotation: Any) -> ConfigError:
    """The refusal "model.n_layer: 'abc' is not an integer"."""
    return ConfigError(f"{path}: {shown(value)} is not {type_in_words(annotation)}")


def annotation_of(parent: Any, name: str) -> Any:
    """Declared type of a setting, given the OmegaConf node that holds it; None where nothing is declared."""
    schema = OmegaConf.get_type(parent)
    return get_type_hints(schema).get(name) if is_dataclass(schema) else None


def type_in_words(annotation: Any) -> str:
    """A declared type as a noun: "an integer", "text or null", ..."""
    members = get_args(annotation) if NoneType in get_args(annotation) else (annotation,)
    words = [NOUNS.get(member, "a group of settings") for member in members if member is not NoneType]
    return " or ".join([*words, *(["null"] if NoneType in members else [])])


def shown(value: object) -> str:
    """A value as the user would have written it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
