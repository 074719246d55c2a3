"""Finished and running experiments as tables and plots, from the files of run folders alone."""

from analysis.run_records import scalars, series, series_array
from analysis.runs import load_runs

__all__ = ["load_runs", "scalars", "series", "series_array"]
