"""The typed schema of a run. No torch, no mlflow: importing it takes milliseconds."""

from camoe.config.refusal import ConfigError
from camoe.config.run import RunConfig

__all__ = ["ConfigError", "RunConfig"]
