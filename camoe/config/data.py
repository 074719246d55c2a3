"""Which text is trained and evaluated on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from camoe.config.refusal import ConfigError
from camoe.config.setting import setting
from camoe.config.text_source import SourceConfig

NAME = re.compile(r"[\w-]+")
DATA_PATHS = ("path", "sft_path", "preference_path")
"""Settings that say where texts lie, which is no part of what they are."""
MIXTURES = {"pretrain": "sources", "sft": "sft_sources", "preferences": "preference_sources"}
"""The named sources of each data profile."""
ONE_PATH = {"sft": "sft_path", "preferences": "preference_path"}
"""What takes one local source of a profile in place of named ones."""


def _named_sources(what: str) -> Any:
    return field(default_factory=dict, metadata={"help": f"named sources of {what}, each with a weight"})


@dataclass(kw_only=True)
class DataConfig:
    source: str = setting(
        "python_stdlib",
        help="python_stdlib (the interpreter's own library), local (data.path) or mixture (data.sources)",
        options=("python_stdlib", "local", "mixture"),
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
    sources: dict[str, SourceConfig] = _named_sources("text, for data.source mixture")
    sft_sources: dict[str, SourceConfig] = _named_sources("dialogues, in place of data.sft_path")
    preference_sources: dict[str, SourceConfig] = _named_sources("pairs of answers, in place of data.preference_path")
    mixture_seed: int = setting(0, help="in which order the documents of several sources are drawn", low=0)
    max_train_bytes: int | None = setting(
        None, help="stop reading the training part after this many UTF-8 bytes", low=1
    )
    max_valid_bytes: int | None = setting(
        None, help="stop reading the held-out part after this many UTF-8 bytes", low=1
    )
    reset_at_boundaries: bool = setting(
        False, help="training rows hold one document each and begin with an empty state; else they run across documents"
    )
    cache_dir: str = setting(
        "outputs/cache", help="where packed tokens and trained tokenizers are kept", affects_results=False
    )

    def __post_init__(self) -> None:
        if self.source == "local" and not self.path:
            raise ConfigError("data.path: missing, data.source local needs a file or a folder with train.* and valid.*")
        if self.source != "local" and self.path:
            raise ConfigError(f"data.path: '{self.path}' has no effect with data.source {self.source}; use local")
        if self.source == "mixture" and not self.sources:
            raise ConfigError("data.sources: empty, data.source mixture needs at least one named source")
        if self.source != "mixture" and self.sources:
            raise ConfigError(f"data.sources: no effect with data.source {self.source}; use mixture")
        for profile, one in ONE_PATH.items():
            if getattr(self, one) and self.named(profile):
                raise ConfigError(f"data.{one}: not together with data.{MIXTURES[profile]}; give null or no sources")
        for profile in MIXTURES:
            for name, source in self.named(profile).items():
                self._check(f"data.{MIXTURES[profile]}.{name}", name, source)

    def named(self, profile: str) -> dict[str, SourceConfig]:
        """The named sources of a data profile."""
        found: dict[str, SourceConfig] = getattr(self, MIXTURES[profile])
        return found

    def has(self, profile: str) -> bool:
        """Whether there is something to read for phases of this data profile."""
        return profile == "pretrain" or bool(self.named(profile) or getattr(self, ONE_PATH[profile]))

    def _check(self, where: str, name: str, source: SourceConfig) -> None:
        if not NAME.fullmatch(name):
            raise ConfigError(f"{where}: a name must be letters, digits, '_' or '-'")
        if not (source.dataset or source.path):
            raise ConfigError(f"{where}.dataset: null, and so is path; give one of them")
