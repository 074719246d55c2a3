"""The commands of the pages on using a model run as they stand there.

Only what a page cannot know is filled in: run folders for `outputs/<date>/<run>`, small files under the names that it
mentions; and commands that train get settings added that make the run small.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.inference.test_benchmark import CHOICE, DOCUMENTS, WORD, write_tasks
from tests.jobs.command import ROOT, SMALL, records, text_file
from tests.jobs.forked_commands import Done, run_all

SHARED = ROOT.parent / "shared" / "data"
RUN = "outputs/<date>/<run>"
ONE_RWKV = ["experts.rwkv_ffn=1", "experts.transformer_prefix=0", "router.top_k=1", "economy=off"]
WILD = ["train.base_lr=1e30", "train.max_skipped_steps=0"]
TINY = ["kernel.threads=1", "tracking=local", "tracking.report=false", "job.sample_tokens=8", "data=local"]
pytestmark = pytest.mark.slow


def documented(page: str) -> list[list[str]]:
    """Arguments of run.py in every command of a page's code blocks."""
    lines = (ROOT / "docs" / page).read_text().replace("\\\n", " ").splitlines()
    commands = [line.strip() for line in lines if line.strip().startswith("python run.py ")]
    assert commands
    return [shlex.split(line, comments=True)[2:] for line in commands]


def _made(folder: Path, *overrides: str) -> str:
    """A run folder made in `folder` from its stories.jsonl, relative to it, whether or not the run went well."""
    before = set(folder.glob("outputs/2*/*"))
    run_all(folder, [[*SMALL, "data.path=stories.jsonl", *overrides]])
    (made,) = set(folder.glob("outputs/2*/*")) - before
    return str(made.relative_to(folder))


def _succeed(folder: Path, commands: list[list[str]], run: str = "") -> list[Done]:
    """Run a page's commands in their order, each to a good end."""
    asked = [[argument.replace(RUN, run) for argument in command] for command in commands]
    done = run_all(folder, asked)
    assert [(command, one.output) for command, one in zip(asked, done, strict=False) if one.code] == []
    assert len(done) == len(commands)
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty place with some text whose records name a source."""
    text = text_file(tmp_path).read_text()
    pieces = [text[start : start + 2000] for start in range(0, 200_000, 2000)]
    records = [{"text": piece, "source": "ab"[number % 2]} for number, piece in enumerate(pieces)]
    (tmp_path / "stories.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


def test_generation(folder: Path) -> None:
    (folder / "prompts.txt").write_text("import\ndef \n")
    run = _made(folder)
    _succeed(folder, documented("generation.md"), run)
    samples = folder / run / "samples"
    assert {".html", ".txt", ".jsonl"} == {path.suffix for path in samples.iterdir()}
    assert (folder / "outputs" / "text.state").is_file()


def test_evaluation(folder: Path) -> None:
    for document in DOCUMENTS:
        document["UID"] = document["kind"]
    write_tasks(folder / "FOLDER", {"lambada": WORD, "blimp": CHOICE})
    run = _made(folder)
    _succeed(folder, documented("evaluation.md"), run)
    rows = json.loads((folder / run / "evaluation.json").read_text())["benchmarks"]
    assert {"UID=pet", "UID=wild", "mean over UID"} <= {row["part"] for row in rows}


def test_export(folder: Path) -> None:
    run = _made(folder, "train.ctx_len=64")
    done = _succeed(folder, documented("export.md"), run)
    (table,) = (one.output for one in done if "all matrices" in one.output)
    assert all(f"\nint{bits} " in table for bits in (8, 6, 5, 4))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no weights in {SHARED}")
def test_rwkv_weights(folder: Path) -> None:
    name = "tiny_rwkv7_834k.safetensors"
    (folder / name).symlink_to(SHARED / "rwkv7_weights" / name)
    begin, *give_back = documented("rwkv_weights.md")
    small = [argument for argument in SMALL if not argument.startswith(("model.", "tokenizer"))]
    _succeed(folder, [[*begin, *small, "data.path=stories.jsonl"]])
    _succeed(folder, give_back, _made(folder, *ONE_RWKV))
    assert (folder / "mine.safetensors").is_file()


def test_troubleshooting(folder: Path) -> None:
    commands = documented("troubleshooting.md")
    look, *replays = [command for command in commands if any(RUN in argument for argument in command)]
    wild = _made(folder, *WILD)
    (found,) = run_all(folder, [[argument.replace(RUN, wild) for argument in look]])
    assert found.code == 1
    assert "not finite" in found.output
    _succeed(folder, replays, wild)
    for name, run in (("RUN", _made(folder)), ("OTHER", _made(folder, "seed=5"))):
        (folder / name).symlink_to(folder / run)
    makers = [command for command in commands if "job.run=RUN" in command]
    assert len(commands) == 1 + len(replays) + len(makers)
    new = [[part.replace("=FOLDER", f"=FOLDER{n}") for part in command] for n, command in enumerate(makers)]
    _succeed(folder, new)
    assert len(list(folder.glob("FOLDER*"))) == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no dialogues in {SHARED}")
def test_the_seven_phases_learn_to_answer_and_to_prefer(folder: Path) -> None:
    """The page's own command, on a small model: held-out answers get likelier, and so do the better ones of pairs."""
    (folder / "path" / "to").mkdir(parents=True)
    (folder / "path" / "to" / "dialogues").symlink_to(SHARED / "sft_instruct1100")
    (folder / "path" / "to" / "pairs").symlink_to(SHARED / "pref_instruct1100")
    command, chat = documented("finetuning.md")
    steps = {"prewarm": 5, "warm": 5, "criticwarm": 5, "prenormal": 5, "normal": 40, "sft": 60, "rlhf": 60}
    text = SHARED / "tinystories"
    small = [
        *(f"phase.schedule.{name}.steps={count}" for name, count in steps.items()),
        *("model.n_embd=64", "model.n_layer=2", "model.head_size=32", "tokenizer=bpe1k"),
        *("train.ctx_len=96", "train.micro_batch=8", "train.grad_accum=1", "train.eval_every=60"),
        *(f"data.path={text}", "data.max_train_bytes=300000", "data.max_valid_bytes=6000"),
    ]
    _succeed(folder, [[*command, *TINY, *small]])
    (run,) = folder.glob("outputs/2*/*")
    (answer,) = _succeed(folder, [chat], str(run.relative_to(folder)))
    assert answer.output.startswith("User: What is rain?\n\nAssistant: ")
    evaluations: dict[int, dict[str, Any]] = {}
    for record in records(run):
        evaluations.setdefault(record["step"], {}).update(record)
    names = [record["phase/name"] for record in records(run) if "phase/name" in record]
    assert list(dict.fromkeys(names)) == list(steps)
    assert evaluations[120]["valid_answers/bpb"] < 0.8 * evaluations[60]["valid_answers/bpb"]
    assert evaluations[180]["final_preference/accuracy"] > 0.7  # of 55 pairs; chance is 0.5 with error 0.07
    assert evaluations[180]["final_preference/loss"] < 0.6931 * 0.8  # what the reference policy has
