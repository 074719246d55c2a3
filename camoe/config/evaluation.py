"""How held-out text is scored, at the end of training and in job=evaluate, and what else job=evaluate measures."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting


@dataclass(kw_only=True)
class EvaluationConfig:
    """Scoring of all of the held-out text; the evaluations between training steps are chunked whatever is chosen."""

    mode: str = setting(
        "chunked",
        help="chunked: windows side by side; sliding: overlapping ones; stateful: one state through the whole text",
        options=("chunked", "sliding", "stateful"),
    )
    stride: int | None = setting(
        None, help="tokens from one sliding window to the next, at most train.ctx_len; null is half of it", low=1
    )
    by_document: bool = setting(False, help="begin every document with an empty state, as if it were alone")
    domain_field: str | None = setting(
        None,
        help="field of a JSONL record whose value is the domain of its text; null: its package, or file",
        affects_results=False,
    )
    tasks: list[str] | None = setting(
        None, help="benchmarks of job=evaluate, each a file NAME.yaml below evaluation.task_data", affects_results=False
    )
    task_data: str | None = setting(
        None, help="folder of lm-evaluation-harness task files and of their data", affects_results=False
    )
    group_field: str | None = setting(
        None,
        help="field of a benchmark's documents: a figure for each of its values as well, and their mean",
        affects_results=False,
    )
    limit: int | None = setting(
        None, help="documents of each benchmark, evenly over its file; null: all", low=1, affects_results=False
    )

    def __post_init__(self) -> None:
        if self.tasks and not self.task_data:
            raise ConfigError(
                f"evaluation.task_data: null, so there is nothing to read {', '.join(self.tasks)} from; "
                "give the folder of the task files"
            )

    def step_of(self, ctx_len: int) -> int:
        """Tokens from one window of `ctx_len` to the next; ConfigError when the stride is longer than that."""
        if self.mode != "sliding":
            return ctx_len
        if self.stride is None:
            return (ctx_len + 1) // 2
        if self.stride > ctx_len:
            raise ConfigError(f"evaluation.stride: {self.stride} skips text; at most train.ctx_len, which is {ctx_len}")
        return self.stride

    def in_words(self, ctx_len: int) -> str:
        """'windows of 256 tokens, 128 apart', for a line of a report."""
        windows = {
            "chunked": f"windows of {ctx_len} tokens",
            "sliding": f"windows of {ctx_len} tokens, {self.step_of(ctx_len)} apart",
            "stateful": "one state carried through it",
        }[self.mode]
        return f"{windows}, each document alone" if self.by_document else windows
