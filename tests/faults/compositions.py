"""Small runs that are unlike in what they carry from step to step."""

from __future__ import annotations

from tests.jobs.command import SMALL

TINY = [*SMALL, "train.checkpoint_every=3", "tracking.log_every=2", "data.max_valid_bytes=1000"]
COMPOSITIONS = {
    "default": [],
    "v21_averaged": ["economy=v21", "averaging=swa", "train.recompute=time_mix"],
    "muon_without_market": ["economy=off", "router=loss_free", "optimizer=muon"],
}
KEEP_ALL = "train.keep_checkpoints=1000"
