"""Which text is trained and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting

DATA_PATHS = ("path", "sft_path", "preference_path")
"""Settings that say where texts lie, which is no part of what they are."""


@dataclass(kw_only=True)
class DataConfig:
    source: str = setting(
        "python_stdlib",
        help="python_stdlib (the interpreter's own library) or local",
        options=("python_stdlib", "local"),
    )
    path: str | None = setting(
        None,
        help="local .txt(.gz), .jsonl(.gz), .parquet or .arrow: a file, or a folder with train.* and valid.*",
    )
    text_field: str = setting("text", help="field of a JSONL, parquet or arrow record that holds the document")
    valid_fraction: float = setting(
        0.05, help="share of documents held out by hash, when no valid file is given", above=0, high=0.5
    )
    sft_path: str | None = setting(
        None,
        help="dialogues of phases with data_profile sft: a .jsonl(.gz), or a folder with train and valid .jsonl(.gz)",
    )
    preference_path: str | None = setting(
        None,
        help="pairs of answers of phases with data_profile preferences: a .jsonl(.gz), or a folder with train and "
        "valid .jsonl(.gz)",
    )
    max_train_bytes: int | None = setting(
        None, help="stop reading the training part after this many UTF-8 bytes", low=1
    )
    max_valid_bytes: int | None = setting(
        None, help="stop reading the held-out part after this many UTF-8 bytes", low=1
    )
    cache_dir: str = setting(
        "outputs/cache", help="where packed tokens and trained tokenizers are kept", affects_results=False
    )

    def __post_init__(self) -> None:
        if self.source == "local" and not self.path:
            raise ConfigError("data.path: missing, data.source local needs a file or a folder with train.* and valid.*")
        if self.source == "python_stdlib" and self.path:
            raise ConfigError(f"data.path: '{self.path}' has no effect with data.source python_stdlib; use local")
