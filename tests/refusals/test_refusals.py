"""Wrong uses: exit code 2, one line that names the place and what is allowed, nothing made or changed on disk.

What is wrong in the settings alone is refused before anything heavy is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest
from more_wrong_lines import MORE_WRONG
from wrong_file_lines import ANALYSIS, WRONG_FILES
from wrong_files import make_wrong_files
from wrong_runs import TINY, make_wrong_runs

from tests.jobs.command import command

pytestmark = pytest.mark.xdist_group("refusals")  # all lines are run once, whoever asks first for what they said

# each: the command line, and the pieces its one line must hold
WRONG: dict[str, tuple[str, ...]] = {
    "model.n_layr=3": ("model.n_layr: no such setting; did you mean model.n_layer?",),
    "+model.n_layr=3": ("model.n_layr: no such setting; did you mean model.n_layer?",),
    "++model.n_layr=3": ("model.n_layr: no such setting; did you mean model.n_layer?",),
    "n_layer=3": ("n_layer: no such setting; did you mean model.n_layer?",),
    "++phase.schedule.normal.stps=3": ("phase.schedule.normal.stps: no such setting", "phase.schedule.normal.steps"),
    "phase.schedule.normall.steps=3": ("phase.schedule.normall: no such setting", "phase.schedule.normal?"),
    "+phase.schedule.late.steps=3": ("phase.schedule.late.steps: add a phase whole", "+phase.schedule={late:"),
    "data.sources={a:{path:a.txt}}": ("data.sources: add a source whole, as in '+data.sources={a: {path: FILE}}'",),
    "+data.sources.a.path=a.txt": ("data.sources.a.path: add a source whole, as in '+data.sources={a: {path: FILE}}'",),
    "+phase.schedule={late:{steps:-5}}": ("phase.schedule.late.steps: -5 is not allowed",),
    "routr=dual_path": ("routr: no such setting; did you mean router?",),
    "router=dual_pth": ("router: no option 'dual_pth'; did you mean dual_path?", "market_only"),
    "model=huge": ("model: no option 'huge'", "(allowed: 0.4b, 0.4b_toy, ", "pilot, tiny)"),
    "hydra/launcher=submitit_slrm": ("hydra/launcher: no option", "did you mean submitit_slurm?"),
    "economy=_v21": ("economy: no option '_v21'; did you mean v21?",),
    "model=null": ("model: no option 'null'",),
    "model=[tiny,pilot]": ("model: choose exactly one option",),
    "+model=pilot": ("+model: this group is chosen already; write model=pilot",),
    "~model": ("~model: a run needs this group",),
    "model=tiny model=pilot": ("model: chosen 2 times",),
    "economy@other=off": ("economy@other: a group keeps its place",),
    "economy=off economy.tax_rate=0.1": ("economy.tax_rate: no such setting in the chosen economy", "v18, v21"),
    "economy.tax_rat=0.1": ("economy.tax_rat: no such setting; did you mean economy.tax_rate?",),
    "economy/congestion=sign": (
        "economy/congestion: a mechanism of economy=calibrated, but economy=pilot",
        "add economy=",
    ),
    "economy=calibrated economy/congestion=sgn": ("economy/congestion: no option 'sgn'; did you mean sign?",),
    "economy=off economy.congestion.gain=3": ("economy.congestion: no such setting in the", "economy=calibrated"),
    "economy=calibrated economy.congestion.gian=3": ("did you mean economy.congestion.gain?",),
    "model.n_layer=abc": ("model.n_layer: 'abc' is not an integer",),
    "model.n_layer=1.5": ("model.n_layer: 1.5 is not an integer",),
    "model.n_layer.deep=3": ("model.n_layer.deep: no such setting; model.n_layer is a value",),
    "train.base_lr=fast": ("train.base_lr: 'fast' is not a number",),
    "experts.policy=by_mixer": ("experts.policy: by_mixer needs as many experts.gelu_ffn (0,",),
    "experts=swiglu4 experts.swiglu=3": ("experts.hidden_ratio: 4 * model.n_embd 128 does not", "such as 170"),
    "experts.shared_kind=zero": ("experts.shared_kind: ", "gated_channel_mix, gelu_ffn"),
    "economy=calibrated experts=moepp economy.congestion.target=inverse_cost": ("experts.copy cost nothing",),
    "parallel.experts=3": ("parallel.experts: 3 processes cannot own equally many of 4 experts",),
    "parallel.weights=shard optimizer=adamw8bit": ("parallel.weights: shard divides moments by rows",),
    "parallel.weights=shard kernel.compile=time_mix": ("parallel.weights: shard gathers weights in between",),
    "name=a/b": ("name: 'a/b' is not allowed",),
    "+model.n_layer=3": ("model.n_layer: is there already; write model.n_layer=3",),
    "model.n_layer=0": ("model.n_layer: 0 is not allowed; must be at least 1",),
    "train.base_lr=nan": ("train.base_lr: nan is not allowed; must be a finite number",),
    "router.gate_activation=tanh": ("router.gate_activation: no option 'tanh' (allowed: identity, sigmoid)",),
    "~seed": ("seed: deleted",),
    "~train.base_lr": ("~train.base_lr: cannot be deleted",),
    "model.n_layer=???": ("model.n_layer: no value given",),
    "name=${nope}": ("name: ${nope} leads nowhere",),
    "model.layers=topp": ("model.layers: no option 'topp'; did you mean top?",),
    "model.layers=top model.attention_ratio=0.3": ("model.attention_ratio: 0.3 of model.n_layer 4", "nearest is 0.25"),
    "model.layers=explicit model.attention_indices=3": (
        "model.attention_indices: 3 is not a list of integers or null",
    ),
    "model.layers=explicit model.attention_indices=[a]": ("model.attention_indices: ['a'] is not a list of integers",),
    "router.top_k=4": ("router.top_k: 4 of 4 experts", "at most 3"),
    "economy=calibrated economy/credit=gradient train.recompute=block": ("economy.credit.kind: gradient", "midpoint"),
    "router=market_only economy=off": ("router.kind: market_only", "economy.kind off"),
    "phase.schedule.sft.steps=5": ("phase.schedule.sft.steps: 5 steps on data_profile sft", "data.sft_path"),
    "job=evaluate": ("job.run: null with job.name evaluate",),
    "model.n_layer": ("'model.n_layer': not an override; write SETTING=VALUE",),
    "model.n_layer=[1,2": ("'model.n_layer=[1,2': cannot be read",),
    "seed=1,2": ("seed: several values (1,2) but one run; add -m",),
    "--config-name confg": ("--config-name: no configuration 'confg'; did you mean config?",),
    "--config-dir /no/such/folder": ("--config-dir: no folder '/no/such/folder'",),
    "--lr 3": ("command line: unrecognized arguments: --lr",),
    "seed=1 --cfg job seed=2": ("unrecognized arguments: seed=2; keep all overrides together",),
    "--cfg job -p modl": ("'modl' not found",),
    "+sweeps=no_such_study": ("sweeps", "no_such_study"),
    "-m router.top_k=1,4": ("arm 2 of 2 (router.top_k=4): router.top_k: 4 of 4 experts",),
    "-m model=tiny,pilott": ("arm 2 of 2 (model=pilott): model: no option 'pilott'; did you mean pilot?",),
    "-m seed=1,a": ("arm 2 of 2 (seed=a): seed: 'a' is not an integer",),
    "-m seed=1,2 model=tiny model=tiny": ("model: chosen 2 times",),
    "-m seed=1,2 arm=x sweep=a/b": ("sweep: 'a/b' is not allowed",),
    "-m seed=1,1": ("the same run as arm camoe (seed 1)",),
    "-m router.noise_std=interval(0,1)": ("an interval has no list of values",),
    "-m seed=1,2 +hydra.sweeper.arms.a=['router.top_k=1'] +hydra.sweeper.arms.b=['router.topk=2']": (
        "arm 2 of 4 (router.topk=2 seed=1)",
        "router.top_k?",
    ),
    "-m seed=1,2 +hydra.sweeper.arms.a=['router.top_k=1,2']": ("arm a: router.top_k=1,2 is several values",),
    "-m router.top_k=1 +hydra.sweeper.arms.a=['router.top_k=2']": ("arm a sets router.top_k=2; leave it out",),
    "-m arm=bb +hydra.sweeper.arms.ba=['router.top_k=2']": ("arm: no arm 'bb'; did you mean ba?",),
    "-m seed=1,2 hydra.launcher.n_jobs=0": ("hydra.launcher.n_jobs: 0 is not allowed; must be at least 1",),
    "job=status": ("sweep: null with job.name status",),
    "job=status sweep=study": ("sweep: no sweep 'study'; known in", "none"),
    "job=train_tokenizer": ("job.output: null with job.name train_tokenizer",),
    "tokenizer.path=t.json tokenizer=byte": ("tokenizer.path: 't.json' has no effect",),
    "tokenizer.vocab_size=256": ("tokenizer.vocab_size: 256 is not allowed with bpe; must be at least 257",),
    "data=tinystories data.path=a.txt": ("data.path: 'a.txt' has no effect with data.source mixture", "use local"),
    "data=tinystories data.sources.tinystories.weight=0": ("data.sources.tinystories.weight: 0", "above 0"),
    "data=tinystories data.sources.tinystories.dataset=null": ("tinystories.dataset: null, and so is path",),
    "data=ultrachat data.sft_path=a.jsonl": ("data.sft_path: not together with data.sft_sources",),
    "retry=always": ("retry: no option 'always' (allowed: failed, none)",),
}
DRIVER = Path(__file__).with_name("command_driver.py")
Row = tuple[str, list[str], str]
"""A program, its arguments, and the folder to call it in."""


def outcomes(rows: Iterable[Row], *options: str) -> list[dict[str, Any]]:
    """What each command line did."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), *options],
        input=json.dumps([*rows]),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(DRIVER.parents[2])},  # run.py's own folder, where plugins are found
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def of_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of each command line of WRONG, in an empty folder."""
    return of_lines(WRONG, tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def of_more_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of each command line of MORE_WRONG, likewise."""
    return of_lines(MORE_WRONG, tmp_path_factory.mktemp("empty"))


def of_lines(lines: Collection[str], folder: Path) -> dict[str, Any]:
    """Of run.py with each of them, in one folder."""
    return dict(zip(lines, outcomes(("run.py", line.split(), str(folder)) for line in lines), strict=True))


@pytest.fixture(scope="module")
def of_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of each command line that reads a wrong file, in a folder full of them."""
    folder = tmp_path_factory.mktemp("full")
    make_wrong_files(folder)
    make_wrong_runs(folder)
    rows = (
        ("analysis", line.split()[3:], str(folder))
        if line.startswith(ANALYSIS)
        else ("run.py", line.split(), str(folder))
        for line in WRONG_FILES
    )
    return dict(zip(WRONG_FILES, outcomes(rows, "--heavy"), strict=True))


ROWS = [
    *(pytest.param(line, pieces, "of_settings", id=line) for line, pieces in WRONG.items()),
    *(
        pytest.param(line, pieces, "of_more_settings", id=line, marks=pytest.mark.slow)
        for line, pieces in MORE_WRONG.items()
    ),
    *(
        pytest.param(line, pieces, "of_files", id=line.replace(TINY, "TINY"), marks=pytest.mark.slow)
        for line, pieces in WRONG_FILES.items()
    ),
]


@pytest.mark.parametrize(("line", "pieces", "results"), ROWS)
def test_refused_in_one_line(line: str, pieces: tuple[str, ...], results: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(results)[line]
    assert result["err"].count("\n") == 1, result["err"]
    assert result["out"] == ""
    assert result["code"] == 2
    for piece in pieces:
        assert piece in result["err"]
    if results != "of_files":
        assert result["heavy"] == []
    assert result["changed"] == []


@pytest.mark.slow
@pytest.mark.parametrize("line", [*WRONG][:: len(WRONG) // 12])
def test_refused_by_the_real_command_line(line: str, tmp_path: Path, of_settings: dict[str, Any]) -> None:
    """What forks of one prepared process say is what a process of its own says."""
    done = subprocess.run(command(*line.split()), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", of_settings[line]["err"])
    assert not any(tmp_path.iterdir())
