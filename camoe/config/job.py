"""What run.py does with the composed configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from camoe.config.checkpoint_job import CheckpointJob
from camoe.config.export import FORMATS, ExportFormat
from camoe.config.plan_job import PlanJob
from camoe.config.refusal import ConfigError, not_an_option
from camoe.config.setting import setting

JOBS = (
    *("train", "evaluate", "generate", "export", "export_rwkv", "checkpoint", "replay_batch"),
    *("profile", "plan", "status", "sync_tracking", "prepare_data", "train_tokenizer"),
)
READ_A_RUN = (
    "evaluate",
    "generate",
    "export",
    "export_rwkv",
    "checkpoint",
    "replay_batch",
)  # and cannot do without one
ABOUT_MANY_RUNS = ("status", "sync_tracking")
TAKE_A_RUN = (*READ_A_RUN, "sync_tracking")


@dataclass(kw_only=True)
class JobConfig:
    """The job, and what the jobs that read a finished run need to know."""

    name: str = setting("train", help=f"{', '.join(JOBS[:-1])} or {JOBS[-1]}", options=JOBS)
    run: str | None = setting(None, help="run folder to read; evaluate and generate take a file of job=export as well")
    weights: str = setting(
        "raw", help="weights to read from a run folder: as trained, or their average", options=("raw", "averaged")
    )
    prompt: str = setting("def ", help="text that the sampled continuation starts from", may_be_empty=True)
    chat: bool = setting(False, help="prompts are questions of a dialogue: put into the template of phase sft")
    sample_tokens: int = setting(120, help="tokens of the sampled continuation", low=0)
    temperature: float = setting(0.8, help="sampling temperature; 0 takes the most likely token", low=0)
    top_p: float = setting(0.9, help="nucleus sampling mass", above=0, high=1)
    top_k: int = setting(0, help="sample among this many likeliest tokens; 0: all", low=0)
    repetition_penalty: float = setting(1.0, help="divides the logits of tokens so far; 1: none", low=1)
    repetition_window: int = setting(0, help="last tokens that the penalty sees; 0: all so far", low=0)
    stop: str = setting(
        "", help="text after which a continuation ends; empty: only at the end of text", may_be_empty=True
    )
    prompts_file: str | None = setting(
        None, help="file of prompts to continue as one batch: .jsonl with a `prompt` each, or text, one a line"
    )
    interactive: bool = setting(False, help="read lines and go on with each, remembering all; Ctrl-D ends")
    save_state: str | None = setting(None, help="file to keep the text in, with the model's state after it")
    load_state: str | None = setting(None, help="file of job.save_state whose text the prompt goes on with")
    format: ExportFormat = field(default_factory=ExportFormat, metadata={"help": "how export stores each class"})
    compare_formats: list[str] | None = setting(
        None, help="sizes and scores to print as well, of files whose matrices are all stored as each of these formats"
    )
    zstd_level: int = setting(22, help="how hard the exported file is compressed", low=1, high=22)
    max_bytes: int | None = setting(None, help="largest exported file allowed; null: any", low=1)
    output: str | None = setting(
        None,
        help="file to export to, null: export.camoe or rwkv.safetensors in the run folder; folder that job=checkpoint "
        "makes; file of job=train_tokenizer; JSON file of job=plan, null: none",
    )
    checkpoint: CheckpointJob = field(
        default_factory=CheckpointJob, metadata={"help": "what job=checkpoint does with a run's checkpoint"}
    )
    plan: PlanJob = field(default_factory=PlanJob, metadata={"help": "devices that job=plan plans for"})
    steps: int = setting(3, help="optimiser steps to profile; 0 only works out size, FLOPs and memory", low=0)
    nominal_params: float | None = setting(
        None,
        help="parameters the profiled model should have, stored or active: shows what experts.hidden gives them",
        above=0,
    )

    def __post_init__(self) -> None:
        if self.name in READ_A_RUN and self.run is None:
            raise ConfigError(f"job.run: null with job.name {self.name}, which reads a run; give job.run=FOLDER")
        for numbers in self.compare_formats or ():
            if numbers not in FORMATS:
                raise not_an_option("job.compare_formats", numbers, FORMATS, noun="format")
        if self.prompts_file is not None and (self.interactive or self.save_state or self.load_state):
            raise ConfigError(
                "job.prompts_file: many texts at once; not together with job.interactive, save_state or load_state"
            )
