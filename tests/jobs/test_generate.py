"""job=generate on a run that was really trained: batches, turns, states, what a terminal shows, and the page."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from analysis.generation_page import write_generation_page
from camoe.config import ConfigError
from camoe.config.command_record import CommandRecord
from camoe.config.experts import ExpertsConfig, expert_labels
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.inference.continuation import TextState
from camoe.inference.writer import Writer, Written
from camoe.jobs import generate
from camoe.model.language_model import LanguageModel
from camoe.tracking.routed_text import RoutedText, family_colour, lines_with_bars, print_shares, print_text
from tests.config.compositions import hydra_ready, run_config
from tests.small_run import small_run

EXPERTS = ExpertsConfig()


def _generate(source: Path, *overrides: str) -> None:
    """The job as run.py starts it, without a process of its own."""
    asked = ("job=generate", f"job.run={source}", "kernel.threads=1", "job.temperature=0", *overrides)
    with hydra_ready():
        config = run_config(*asked)
    generate.run(config, CommandRecord(argv=(), overrides=asked, choices={}, sweep_dir=None, arm=None))


def _writer(**job: object) -> Writer:
    model = LanguageModel(small_run(model={"tie_embeddings": False})).eval()
    config = small_run(job={"sample_tokens": 12, **job}).job
    return Writer(model, ByteTokenizer(), config, seed=3)


@pytest.mark.slow
def test_a_batch_a_saved_state_and_turns_of_a_trained_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = finished / "samples"
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("import\ndef run(\n")
    _generate(finished, f"job.prompts_file={prompts}", "job.sample_tokens=9")
    (batch,) = samples.glob("*_batch.jsonl")
    lines = [json.loads(line) for line in batch.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["import", "def run("]
    state = tmp_path / "text.state"
    _generate(finished, "job.prompt='def run('", "job.sample_tokens=4", f"job.save_state={state}")
    (text,) = samples.glob("step_*.txt")
    first = text.read_text()
    _generate(finished, "job.prompt=''", "job.sample_tokens=5", f"job.load_state={state}")
    assert first + text.read_text() == "def run(" + lines[1]["continuation"]
    monkeypatch.setattr("sys.stdin", io.StringIO("def run(\n\n"))
    _generate(finished, "job.interactive=true", "job.sample_tokens=5")
    assert text.read_text().startswith("def run(")
    assert "Transformer use" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"^job.load_state: no file"):
        _generate(finished, "job.load_state=absent")


def test_a_continuation_ends_after_the_stop_text_which_is_not_shown() -> None:
    (free,) = _writer(temperature=1.5).go_on([TextState()], ["ab"], traced=False)
    drawn = _writer(temperature=1.5)
    text = TextState()
    drawn.go_on([text], ["ab"], traced=False)
    pieces = [drawn.tokenizer.decode_bytes([token]) for token in text.tokens[3:]]
    places = [n for n in range(3, 11) if b"".join(pieces[n : n + 2]).isascii()]
    stop = b"".join(pieces[places[0] : places[0] + 2]).decode()
    (ended,) = _writer(temperature=1.5, stop=stop).go_on([TextState()], ["ab"], traced=True)
    assert ended.continuation == free.continuation[: free.continuation.index(stop)]
    assert ended.routes is not None
    assert ended.routes.price.shape[1] == len(ended.spans) == 2 + ended.n_drawn


@pytest.mark.parametrize("broken_off", [True, False])
def test_questions_of_a_dialogue_stand_in_the_template_of_training(broken_off: bool) -> None:
    writer, text = _writer(chat=True, sample_tokens=5), TextState()
    (first,) = writer.go_on([text], ["Hi \n"], traced=True)
    if not broken_off:
        text.add([0])
    (second,) = writer.go_on([text], ["Why?"], traced=True)
    begun, asked = b"\0User: Hi\n\nAssistant:", b"\0User: Why?\n\nAssistant:"
    said = len(begun) + 5
    assert bytes(text.tokens[: len(begun)]) == begun
    assert bytes(text.tokens[said : said + len(asked)]) == asked
    assert (first.text[:8], second.text[:10]) == ("User: Hi", "User: Why?")
    assert second.routes is not None
    assert "".join(second.spans) == second.text
    if broken_off:
        assert second.routes.price.shape[1] == len(second.spans)


def test_characters_of_several_tokens_stand_with_the_last_of_them() -> None:
    (written,) = _writer(sample_tokens=0).go_on([TextState()], ["aé€"], traced=True)
    assert written.spans == ["a", "", "é", "", "", "€"]
    assert written.text == "aé€"
    assert written.routes is None


@pytest.fixture(scope="module")
def written() -> Written:
    (text,) = _writer().go_on([TextState()], ["<b>&\x1b"], traced=True)
    return text


def test_the_page_holds_every_layer_of_every_token_and_no_markup_of_the_text(written: Written, tmp_path: Path) -> None:
    page = write_generation_page(tmp_path / "page.html", "<i>", {"run": "r"}, [written], EXPERTS).read_text()
    assert page.count('class="token') == len(written.spans)
    assert page.count('class="token drawn"') == written.n_drawn
    assert page.count("<i>L01</i>") == len(written.spans)
    routes = written.routes
    assert routes is not None
    assert routes.difficulty is not None
    (first, second), (weight, other) = routes.experts[1, 4].tolist(), routes.weights[1, 4].tolist()
    labels = expert_labels(EXPERTS)
    hover = page.split('class="token')[5].split("<i>L01</i>")[1]
    for shown in (
        f"{labels[first]} {weight:.2f}, {labels[second]} {other:.2f}",
        f"{routes.price[1, 4]:+.3f}",
        f"{routes.difficulty[1, 4]:+.3f}",
    ):
        assert shown in hover.replace("\u2212", "-"), shown
    assert "<b>&amp;" not in page
    assert "&lt;" in page
    assert "&lt;i&gt;" in page
    assert "\x1b" not in page
    assert "http" not in page.replace("http-equiv", "")


def _shown(**console: object) -> str:
    out = io.StringIO()
    text = RoutedText(EXPERTS, ["ab", "c\nd", "\x1b"], [0.0, 0.5, 1.0], [0.25, 0.75], [0.3, 0.3, 0.2, 0.2])
    terminal = Console(file=out, width=60, **console)  # type: ignore[arg-type]
    print_text(text, terminal)
    print_shares(text, terminal)
    return out.getvalue()


def test_text_as_it_is_where_there_is_no_terminal() -> None:
    lines = _shown(force_terminal=False).splitlines()
    assert lines[:2] == ["abc", "d\x1b"]
    assert any(line.split()[0] == "L01" and "75%" in line for line in lines if line.strip())
    assert any(line.split()[0] == "all" and "50%" in line for line in lines if line.strip())
    assert "T0 20%" in lines[-1]


def test_bars_under_the_text_on_a_terminal_without_colour() -> None:
    shown = _shown(force_terminal=True, color_system="truecolor", no_color=True)
    assert shown.splitlines()[:4] == ["abc", "▁▁▅", "d·", "▅█"]
    text = RoutedText(EXPERTS, ["abcd"], [1.0], [1.0], [0, 0, 0, 1])
    assert lines_with_bars(text, 3) == ["abc", "███", "d", "█"]


def test_colours_on_a_terminal() -> None:
    assert (family_colour(0), family_colour(1)) == ("#2f6fde", "#e0533d")
    shown = _shown(force_terminal=True, color_system="truecolor")
    assert "\x1b[38;2;47;111;222mab\x1b[0m" in shown
    assert "\x1b[38;2;224;83;61m·\x1b[0m" in shown
