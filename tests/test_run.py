"""The real command, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "run.py"
BASIC = "hydra/launcher=basic"  # in this process, one after the other
SCRIPT = """
import hydra
from camoe.config import ConfigError
from camoe.config.command_line import refuse_in_one_line, typed

@refuse_in_one_line
@hydra.main(version_base="1.3", config_path={conf!r}, config_name="config")
@typed
def main(config, command):
    {body}

main()
"""


def python(*argv: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


def command(folder: Path, body: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Runs a job of ours in place of run.py's, in `folder`/empty."""
    script = folder / "job.py"
    script.write_text(SCRIPT.format(conf=str(ROOT / "conf"), body=body))
    empty = folder / "empty"
    empty.mkdir()
    return python(str(script), *argv, cwd=empty)


def test_shown_configuration_can_be_read_back_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    done = python("-X", "importtime", str(RUN), "model=pilot", "seed=3", "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = OmegaConf.create(done.stdout)
    assert (shown.model.n_embd, shown.experts.rwkv_ffn, shown.seeds.init) == (768, 3, 3)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert imported.isdisjoint({"torch", "mlflow", "submitit", "numpy", "pandas", "datasets"})
    assert not list(tmp_path.iterdir())


def test_refusal_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = python(str(RUN), "economy.tax_rat=0.5", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "economy.tax_rat: no such setting; did you mean economy.tax_rate?\n"
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_help_marks_the_chosen_options(tmp_path: Path) -> None:
    done = python(str(RUN), "model=pilot", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    marked = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  * ")]
    assert {"pilot", "rwkv_world", "3r1t", "dual_path"} <= set(marked)
    assert "tiny" not in marked
    assert "Examples" in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("economy=", "economy=v21"), ("model=pilot experts.rwkv", "experts.rwkv_ffn="), ("+sw", "+sweeps")],
)
def test_tab_completion(typed: str, offered: str, tmp_path: Path) -> None:
    line = f"python run.py {typed}"
    done = python(str(RUN), "-sc", "query=bash", cwd=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert done.returncode == 0, done.stderr
    assert any(word.startswith(offered) for word in done.stdout.split())


def test_info_shows_the_repository_on_the_search_path(tmp_path: Path) -> None:
    done = python(str(RUN), "--info", "searchpath", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"repository://{ROOT}" in done.stdout


def test_job_gets_typed_settings_and_its_command(tmp_path: Path) -> None:
    body = "print(type(config).__name__, config.seeds.data, command.overrides, command.choices['model'], command.arm)"
    done = command(tmp_path, body, "seed=4", "model=pilot")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "RunConfig 4 ('seed=4', 'model=pilot') pilot None\n"
    assert done.stderr == ""
    assert not list((tmp_path / "empty").iterdir())


def test_setting_without_effect_warns_in_one_line(tmp_path: Path) -> None:
    done = command(tmp_path, "print(command.warnings)", "experts=4r0t", "model.prefix_len=3")
    assert done.returncode == 0
    assert done.stderr == "warning: model.prefix_len has no effect: experts.transformer_prefix is 0\n"
    assert "experts.transformer_prefix is 0" in done.stdout


def test_refusal_inside_the_job(tmp_path: Path) -> None:
    done = command(tmp_path, "raise ConfigError('data.path: no file\\n here')")
    assert (done.returncode, done.stderr) == (2, "data.path: no file here\n")


@pytest.mark.parametrize("error", ["ValueError('odd')", "AssertionError('odd')", "KeyError('odd')"])
def test_bug_shows_its_traceback(error: str, tmp_path: Path) -> None:
    done = command(tmp_path, f"raise {error}")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "in main" in done.stderr
    assert "odd" in done.stderr


def test_interrupt_is_quiet(tmp_path: Path) -> None:
    done = command(tmp_path, "raise KeyboardInterrupt")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_multirun_runs_every_arm_and_keeps_to_its_folder(tmp_path: Path) -> None:
    done = command(tmp_path, "print('arm', command.arm, config.seed, command.sweep_dir)", "-m", "seed=5,6", BASIC)
    assert done.returncode == 0, done.stderr
    arms = [line.split() for line in done.stdout.splitlines() if line.startswith("arm")]
    assert [arm[1:3] for arm in arms] == [["0", "5"], ["1", "6"]]
    (folder,) = {arm[3] for arm in arms}
    empty = tmp_path / "empty"
    assert folder.startswith("outputs/sweeps/")
    assert [path.relative_to(empty / folder) for path in empty.rglob("*") if path.is_file()] == [Path("sweep.json")]


def test_bad_arm_stops_the_multirun_before_any_starts(tmp_path: Path) -> None:
    done = command(tmp_path, "print('started')", "-m", "router.top_k=2,4")
    assert done.returncode == 2
    assert "started" not in done.stdout
    assert done.stderr.startswith("arm 2 of 2 (router.top_k=4): router.top_k: 4 of 4 experts")
    assert not list((tmp_path / "empty").iterdir())


def test_sweep_file_sets_parameters(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 1,2\n      router.top_k: 2,4\n"
    )
    group = ["--config-dir", str(tmp_path), "+mine=study"]
    done = command(tmp_path, "print('started', config.seed)", "-m", *group)
    assert done.returncode == 2
    assert done.stderr.startswith("arm 2 of 4 (seed=1 router.top_k=4 +mine=study): router.top_k: 4 of 4")
    done = python(str(tmp_path / "job.py"), "-m", *group, "router.top_k=1", BASIC, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "started" in line] == ["started 1", "started 2"]


def test_sweep_file_names_its_arms(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.yaml").write_text(
        "# @package _global_\nsweep: study\nhydra:\n  sweeper:\n    params: {seed: '1,2'}\n    arms:\n"
        "      gate: [economy=off]\n      market: [economy=v21, router.top_k=1]\n"
    )
    group = ["--config-dir", str(tmp_path), "+mine=study"]
    done = command(tmp_path, "print('arm', config.arm, config.seed, config.economy.kind)", "-m", *group, BASIC)
    assert done.returncode == 0, done.stderr
    started = [line for line in done.stdout.splitlines() if line.startswith("arm")]
    assert started == ["arm gate 1 off", "arm market 1 v21", "arm gate 2 off", "arm market 2 v21"]
    plan = json.loads((tmp_path / "empty" / "outputs" / "sweeps" / "study" / "sweep.json").read_text())
    pairs = [(arm["arm"], arm["seed"]) for arm in plan["arms"]]
    assert pairs == [("gate", 1), ("market", 1), ("gate", 2), ("market", 2)]
    assert plan["arms"][0]["overrides"] == ["economy=off", "seed=1", "+mine=study"]
    assert len({arm["signature"] for arm in plan["arms"]}) == 4


def test_other_primary_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [config, _self_]\nname: mine\nseed: 9\n")
    done = command(tmp_path, "print(config.name, config.seeds.init)", "--config-dir", str(tmp_path), "-cn", "mine")
    assert (done.returncode, done.stdout) == (0, "mine 9\n"), done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [("model: {n_layr: 3}", "model.n_layr"), ("model: {n_layer: x}", "model.n_layer"), ("seed: [1", "mine.yaml")],
)
def test_mistake_in_a_file_of_the_users(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"defaults: [config, _self_]\n{text}\n")
    done = command(tmp_path, "pass", "--config-dir", str(tmp_path), "-cn", "mine")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_libraries_are_quiet_and_we_are_not(tmp_path: Path) -> None:
    body = "import logging; logging.getLogger('lib').info('no'); logging.getLogger('camoe.x').info('yes')"
    done = command(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "yes\n", "")
