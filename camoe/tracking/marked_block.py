"""Parts of a Markdown page that a command writes, between markers, so that the prose around them stays."""

from __future__ import annotations

from pathlib import Path

from camoe.config.refusal import ConfigError
from camoe.tracking.atomic_file import write_text


def write_marked_block(page: Path, name: str, content: str) -> None:
    """Puts `content` between `<!-- name: begin -->` and `<!-- name: end -->` of the page; ConfigError without these."""
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ConfigError(f"{page}: has no {begin} ... {end}")
    write_text(page, f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}")
