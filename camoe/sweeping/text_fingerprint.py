"""The hash of a configuration's text and tokenizer, by which runs on other text of the same name are told apart."""

from __future__ import annotations

from camoe.config import ConfigError, RunConfig


def prepared_text(config: RunConfig) -> str:
    """Of the prepared text, which is prepared now if it has not been."""
    from camoe.data.preparation import prepare

    return prepare(config.data, config.tokenizer).fingerprint


def cached_text(config: RunConfig) -> str | None:
    """Of the text in the cache; None when it has changed since, or cannot be read."""
    from camoe.data.preparation import cached

    try:
        corpus = cached(config.data, config.tokenizer)
    except ConfigError:  # the run itself says so
        return None
    return None if corpus is None else corpus.fingerprint
