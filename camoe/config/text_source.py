"""One named source of text, dialogues or pairs, of which a mixture has several."""

from __future__ import annotations

from dataclasses import dataclass

from camoe.config.setting import setting

PATH_PREFIXES = ("/", "./", "../")

OF_DATA_SETS = ("dataset", "subset", "revision", "train_split", "valid_split", "max_bytes")
"""Settings that local files have no use for."""


@dataclass(kw_only=True)
class SourceConfig:
    """A data set of the Hugging Face hub, a folder laid out like one, or local files in its place."""

    dataset: str | None = setting(
        None, help="data set of the Hugging Face hub, or a folder in its layout beginning with /, ./ or ../"
    )
    subset: str | None = setting(None, help="configuration of the data set, where it has several")
    revision: str | None = setting(None, help="commit, tag or branch of the data set; null: its main branch")
    train_split: str = setting("train", help="split of the data set to train on")
    valid_split: str | None = setting(None, help="held-out split; null: data.valid_fraction of the other, by hash")
    max_bytes: int | None = setting(
        None, help="read this many UTF-8 bytes from the beginning of each split of the data set; null: all", low=1
    )
    path: str | None = setting(None, help="local file or folder to read in place of the data set")
    text_field: str = setting("text", help="field of a record that holds the document")
    weight: float = setting(1.0, help="share of the mixture, relative to the others'", above=0)
