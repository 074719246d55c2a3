"""The calls of the product that a run is killed in."""

from __future__ import annotations

PLACES: dict[str, tuple[str, ...]] = {
    "folder made": ("new_run_folder",),
    "resume": ("resumed_run", "Trainer.restore"),
    "step": ("train_step",),
    "settlement": ("CapitalMarket.settle", "CalibratedMarket.settle"),
    "checkpoint": ("CheckpointStore.save",),
    "log flush": ("Tracker.log", "Tracker.book"),
    "arrays": ("Tracker.keep",),
    "end": ("_conclude", "Tracker.finish"),
}
"""Names as functions bear them (`co_qualname`), all in camoe."""
OF_CALL = {name: place for place, names in PLACES.items() for name in names}
ONLY_FIRST, ONLY_LATER = {"folder made"}, {"resume"}
"""What happens in no process but the first of a run, and what in none but the others."""
FIRST_CALLS = 2
"""Of a process, that it may be killed in: the later ones are those of another process of the run."""
