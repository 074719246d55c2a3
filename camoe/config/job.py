"""What run.py does with the composed configuration."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

JOBS = ("train", "evaluate", "generate", "profile", "status", "sync_tracking")
READ_A_RUN = ("evaluate", "generate")  # and cannot do without one
TAKE_A_RUN = (*READ_A_RUN, "sync_tracking")


@dataclass(kw_only=True)
class JobConfig:
    """The job, and what the jobs that read a finished run need to know."""

    name: str = setting("train", help="train, evaluate, generate, profile, status or sync_tracking", options=JOBS)
    run: str | None = setting(None, help="run folder to read (evaluate, generate, sync_tracking)")
    weights: str = setting(
        "raw", help="weights to read (evaluate, generate): as trained, or their average", options=("raw", "averaged")
    )
    prompt: str = setting("def ", help="text that the sampled continuation starts from")
    sample_tokens: int = setting(120, help="tokens of the sampled continuation", low=0)
    temperature: float = setting(0.8, help="sampling temperature; 0 takes the most likely token", low=0)
    top_p: float = setting(0.9, help="nucleus sampling mass", above=0, high=1)
    steps: int = setting(3, help="optimiser steps to profile; 0 only works out size, FLOPs and memory", low=0)
    nominal_params: float | None = setting(
        None,
        help="parameters the profiled model should have, stored or active: shows what experts.hidden gives them",
        above=0,
    )

    def __post_init__(self) -> None:
        if self.name in READ_A_RUN and self.run is None:
            raise ConfigError(f"job.run: null with job.name {self.name}, which reads a run; give job.run=FOLDER")
