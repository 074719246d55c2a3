from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from camoe.tracking.console import Choice, ProgressDisplay


def display(tmp_path: Path, *, terminal: bool) -> tuple[ProgressDisplay, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    return ProgressDisplay(20, 5, tmp_path / "train.log", console), screen


def train(shown: ProgressDisplay) -> None:
    with shown:
        shown.choices([Choice("device", "cpu", "no CUDA device"), Choice("kernel", "chunked")])
        shown.start(0)
        for step in range(1, 21):
            shown.update(step, loss=1 / step, tokens_per_s=1234.5, phase="adapt")
        logging.getLogger("camoe.somewhere").warning("look here")
        shown.say("done")


def test_plain_lines_at_intervals_where_there_is_no_terminal(tmp_path: Path) -> None:
    shown, screen = display(tmp_path, terminal=False)
    train(shown)
    lines = screen.getvalue().splitlines()
    assert lines[0].split() == ["device", "cpu", "no", "CUDA", "device"]
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["5/20", "10/20", "15/20", "20/20"]
    assert "step 5/20  adapt  loss 0.2000  1,234 tokens/s  0:00:00 left" in lines
    assert lines[-2:] == ["warning: look here", "done"]
    assert "\x1b" not in screen.getvalue()


def test_a_bar_on_a_terminal_and_no_interval_lines(tmp_path: Path) -> None:
    shown, screen = display(tmp_path, terminal=True)
    train(shown)
    assert "━" in screen.getvalue()
    assert "20/20" in screen.getvalue()
    assert "loss 0.0500" in screen.getvalue()
    assert "step 5/20" not in screen.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_train_log_has_everything(tmp_path: Path, terminal: bool) -> None:
    shown, _ = display(tmp_path, terminal=terminal)
    train(shown)
    text = (tmp_path / "train.log").read_text()
    for part in ("device: cpu (no CUDA device)", "step 15/20  adapt", "WARNING look here", "INFO done"):
        assert part in text


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    logger = logging.getLogger("camoe")
    before = (list(logger.handlers), logger.level, logger.propagate)
    shown, _ = display(tmp_path, terminal=False)
    with pytest.raises(KeyboardInterrupt), shown:
        raise KeyboardInterrupt
    assert (list(logger.handlers), logger.level, logger.propagate) == before


def test_a_disk_without_room_for_the_log_disturbs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.log").symlink_to("/dev/full")
    shown, screen = display(tmp_path, terminal=False)
    train(shown)
    assert screen.getvalue().splitlines()[-2:] == ["warning: look here", "done"]
    assert capsys.readouterr().err == ""
