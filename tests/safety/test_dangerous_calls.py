"""What could execute a file's content stands nowhere in the packages, but where this list says why it may."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("camoe", "analysis", "benchmarks", "hydra_plugins", "cuda", "run.py")
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen"),
    *(
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "dill.loads",
        "cloudpickle.loads",
        "joblib.load",
        "shelve.open",
    ),
    *("marshal.loads", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load", "torch.hub.load"),
    *("np.load", "numpy.load", "datasets.load_from_disk", "pd.read_pickle"),
}
ALLOWED = {
    ("analysis/runs.py", "yaml.load"): "with the safe loader",
}
SAFE_BY = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
"""Calls that are safe with this argument."""


def calls(file: Path) -> list[tuple[str, dict[str, object]]]:
    """Dotted name and constant keyword arguments of every call."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            given = {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
            found.append((ast.unparse(node.func), given))
    return found


def violations(file: Path, name: str) -> list[str]:
    """Calls of a file that nothing allows."""
    found = []
    for call, given in calls(file):
        if given.get("shell") is True or given.get("trust_remote_code") is True:
            found.append(f"{name}: {call} with shell or trust_remote_code")
        argument, value = SAFE_BY.get(call, ("", None))
        safe = argument in given and given[argument] is value
        if call in FORBIDDEN and not safe and (name, call) not in ALLOWED:
            found.append(f"{name}: {call}")
    return found


def sources() -> list[Path]:
    """Every Python file of the product."""
    return [file for name in PACKAGES for file in sorted([*(ROOT / name).rglob("*.py"), ROOT / name]) if file.is_file()]


def test_nothing_executes_what_it_reads() -> None:
    found = [
        line for file in sources() if file.suffix == ".py" for line in violations(file, str(file.relative_to(ROOT)))
    ]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    assert {(name, call) for name, call in ALLOWED if call in {c for c, _ in calls(ROOT / name)}} == set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    [
        *("torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "pickle.loads(content)"),
        *(
            "eval(text)",
            "subprocess.run(text, shell=True)",
            "yaml.load(text)",
            "datasets.load_dataset(x, trust_remote_code=True)",
        ),
    ],
)
def test_a_dangerous_line_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(f"import x\n{line}\n")
    assert violations(tmp_path / "file.py", "file.py")
