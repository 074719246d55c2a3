"""What job=checkpoint does with the checkpoint of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from camoe.config.setting import setting

MAKE_A_FOLDER = ("slim", "reset", "average")
NEED_ANOTHER = ("average", "compare")


@dataclass(kw_only=True)
class CheckpointJob:
    """A checkpoint is named by its run folder, which means the newest, or by its own folder below checkpoints/."""

    action: str = setting(
        "inspect",
        help="inspect or compare: show; slim, reset or average: make the run folder job.output",
        options=("inspect", "slim", "reset", "average", "compare"),
    )
    reset: str = setting(
        "market", help="what reset puts back to its initial state", options=("market", "critic", "both")
    )
    others: list[str] = field(
        default_factory=list, metadata={"help": "further checkpoints: those to average, or the one to compare with"}
    )
