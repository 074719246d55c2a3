"""What a comparison of arms found, as frames: everything that its table, its files and its page show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from camoe.config.analysis import AnalysisConfig

BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
REFERENCE, DIVERGED, NOT_COMPARABLE, NO_RUNS = "reference", "diverged", "not comparable", "no runs"
NOT_RANKED = "non-causal: not ranked"


@dataclass(frozen=True)
class Comparison:
    """Arms of one study against its reference.

    name: of the sweep or experiment, or the folders. plan: what was used, `analysis` of the sweep with what the command
    line changed. metric, unit, margin: the primary metric, and the margin in its unit. better: "lower" or "higher".
    reference: an arm. level: of the intervals, 1 - alpha. folder: where the files of the comparison go.
    notes: what a reader must know, a line each; unequal FLOPs and refused pairs stand first.

    runs: the rows of `load_runs` and three columns more: value (primary metric; NaN where there is none), counted (a
    finished run that has not diverged: it is in means and pairs) and diverged.

    arms: indexed by arm, the reference first, the rest as in the sweep; a column is NaN where nothing can be computed:
    - n (counted runs), planned, missing (never started, running, killed or unreadable), failed, diverged,
      diverged_low, diverged_high (Wilson interval of the share of finished and failed runs that diverged);
    - mean, sd (of the primary metric), bpb, bpb_sd, loss, loss_sd (of final/bpb and final/loss; nats per token),
      bpb_error (standard error of one run's final/bpb over held-out documents);
    - pairs, difference, difference_sd (arm minus reference over pairs of seeds), low, high (its interval),
      interval ("bootstrap" over seeds, "bootstrap, documents" over seeds and held-out documents, "t" below 5 pairs),
      p (paired t, two-sided), p_holm, p_equivalence (two one-sided tests), p_equivalence_holm: NaN below 5 pairs;
    - verdict (one of the constants above), seeds_needed (pairs that would show a difference of the margin at 80 %
      power), short_of_text (undecided though tests over seeds decide, for the interval over documents does not), why
      (what refused the pairing, for "not comparable");
    - maxvio_global, maxvio_global_chance, maxvio_batch, maxvio_batch_chance (what a uniformly random router shows),
      dead_experts (mean over layers), flops_per_token (forward, measured), flops_ratio (training FLOPs per token over
      the reference's, in pairs), tokens_per_s, tokens: means over counted runs.

    pairs: one row per arm (not the reference) and pair of seeds: arm, seed_init, seed_data, value, reference_value,
    difference, flops_ratio, folder, reference_folder.

    market: one row per counted run that has a market: arm, seed_init, seed_data, folder, holdout_gain (nats per token
    saved on sequences routed without the market), capital_credit and capital_load (Spearman over the experts of a
    layer, mean over layers), and by layer the arrays capital_credit_by_layer and capital_load_by_layer.

    plan_followed: what was planned against what is there: item, planned, found, followed.
    """

    name: str
    plan: AnalysisConfig
    metric: str
    unit: str
    margin: float
    better: str
    reference: str
    level: float
    folder: Path
    runs: pd.DataFrame
    arms: pd.DataFrame
    pairs: pd.DataFrame
    market: pd.DataFrame
    plan_followed: pd.DataFrame
    notes: tuple[str, ...]
    parent_run_id: str | None = None
