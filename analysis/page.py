"""Pages: one self-contained HTML file that fetches nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from camoe.tracking.atomic_file import write_text
from camoe.tracking.metric_definitions import BY_RECORDED_NAME
from camoe.tracking.short_number import short_number

MISSING = "\u2013"  # an en dash


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Renders the template with everything escaped that is not markup made here; replaces the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(template, **content))
    return path


def render(template: str, **content: Any) -> str:
    """The page as text."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    loader = PackageLoader("analysis")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, short=short, signed=signed, percent=percent, fixed=fixed)
    environment.globals.update(spread=spread, p=p_value)
    environment.globals.update(definitions=BY_RECORDED_NAME, script_hash=_script_hash(environment), missing=MISSING)
    return environment


def _script_hash(environment: Environment) -> str:
    """What the page's security policy allows to run: the script of `page.js`, exactly as it is included."""
    script = environment.get_template("page.js").render()
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def number(value: Any, digits: int = 4) -> str:
    """Whole numbers with separators, others with `digits` significant digits; a dash for what is not there."""
    if value is None or isinstance(value, str):
        return value or MISSING
    if not math.isfinite(value):
        return str(value) if not math.isnan(value) else MISSING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def short(value: Any) -> str:
    """12.3k, 4.56M."""
    return MISSING if value is None or not math.isfinite(value) else short_number(value)


def signed(value: Any, digits: int = 4) -> str:
    """With its sign and this many decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def fixed(value: Any, digits: int) -> str:
    """With this many decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def spread(mean: float, deviation: float) -> str:
    """Mean ± standard deviation, the latter where there is one."""
    return fixed(mean, 4) + (f" \u00b1 {deviation:.4f}" if math.isfinite(deviation) else "")


def p_value(value: float) -> str:
    """Four decimals, or below what."""
    return "< 0.0001" if value < 1e-4 else fixed(value, 4)


def percent(value: Any, digits: int = 0) -> str:
    """Of 1."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"
