"""Wrong command lines: exit code 2, one line that names the place, nothing imported, nothing on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
DRIVER = Path(__file__).with_name("command_lines.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command line of WRONG did, in an empty folder."""
    lines = json.dumps([line.split() for line in WRONG])
    done = subprocess.run(
        [sys.executable, str(DRIVER)],
        input=lines,
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("empty"),
        env={**os.environ, "PYTHONPATH": str(DRIVER.parents[2])},  # run.py's own folder, where plugins are found
        check=True,
    )
    return dict(zip(WRONG, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", WRONG)
def test_refused_in_one_line(line: str, results: dict[str, Any]) -> None:
    result = results[line]
    assert result["err"].count("\n") == 1, result["err"]
    assert result["out"] == ""
    assert result["code"] == 2
    for piece in WRONG[line]:
        assert piece in result["err"]
    assert result["heavy"] == []
    assert result["files"] == []
