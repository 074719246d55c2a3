"""The page of a run, made at its end."""

from __future__ import annotations

import logging

from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path

log = logging.getLogger(__name__)


def write_report(folder: RunFolder) -> None:
    """report.html in the run's folder; what goes wrong costs the page and one line, not the run."""
    try:
        from analysis.run_report import write_run_report  # plots: half a second, and only here

        write_run_report(folder)
    except Exception as error:
        again = f"python -m analysis report {shown_path(folder.path)}"
        log.warning("no report.html (%s: %s); once that is mended: %s", type(error).__name__, error, again)
