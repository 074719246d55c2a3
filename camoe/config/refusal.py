"""Refusing bad input: one line that says what, where, what is allowed and the nearest match."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EXIT_CODE = 2
LONGEST_REASON = 200


class ConfigError(ValueError):
    """A mistake of the user's; its text is the one line that is shown."""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, or None when nothing is near."""
    found = difflib.get_close_matches(str(word), [str(c) for c in candidates], n=1, cutoff=0.5)
    return found[0] if found else None


def not_an_option(path: str, value: object, options: Iterable[str], noun: str = "option") -> ConfigError:
    """The refusal "router: no option 'dual_pth'; did you mean dual_path? (allowed: dual_path, market_only)"."""
    options = sorted(options)
    near = nearest(str(value), options)
    hint = f"; did you mean {near}?" if near else ""
    return ConfigError(f"{path}: no {noun} '{value}'{hint} (allowed: {', '.join(options)})")


def no_such_setting(path: str, known: Iterable[str]) -> ConfigError:
    """The refusal "economy.tax_rat: no such setting; did you mean economy.tax_rate?"."""
    parent, _, name = path.rpartition(".")
    known = sorted(known)
    near = nearest(name, known)
    prefix = f"{parent}." if parent else ""
    hint = f"did you mean {prefix}{near}?" if near else f"known here: {', '.join(known) or 'nothing'}"
    return ConfigError(f"{path}: no such setting; {hint}")


def out_of_range(path: str, value: object, allowed: str) -> ConfigError:
    """The refusal "model.n_layer: 0 is not allowed; must be at least 1"."""
    return ConfigError(f"{path}: {value!r} is not allowed; must be {allowed}")


def check_name(what: str, name: str) -> None:
    """Refuses a name that could not be a folder's: one with slashes would lead elsewhere."""
    if not re.fullmatch(r"(?!\.+$)[\w.-]+", name):
        raise ConfigError(f"{what}: '{name}' is not allowed; must be letters, digits, '.', '_' or '-', not '.' alone")


@contextmanager
def refused_as(where: str) -> Iterator[None]:
    """Whatever a reader raises inside over a file that is not what it should be, as a refusal that begins with `where`.

    A damaged file can make a library raise anything.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:LONGEST_REASON]
        raise ConfigError(f"{where} ({type(error).__name__}{': ' if said else ''}{said})") from error
