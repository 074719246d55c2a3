"""Which run a command means: a new one, one like it that was interrupted, or none because it is finished already."""

from __future__ import annotations

from dataclasses import replace

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.sweeping.earlier_run import earlier_run
from camoe.sweeping.text_fingerprint import prepared_text


def run_to_make(config: RunConfig, command: CommandRecord) -> RunConfig | None:
    """This run, or `resume` of one like it that was interrupted; None when it is finished already.

    Says in a line what it found; ConfigError where the earlier run is in use or has failed.
    """
    earlier = earlier_run(config, command.issued, prepared_text)
    if earlier is None:
        return config
    verdict = earlier.verdict(config.retry)
    if verdict == "refuse":
        raise ConfigError(earlier.line())
    print(earlier.line(), flush=True)
    return replace(config, resume=str(earlier.folder.path)) if verdict == "go on" else None
