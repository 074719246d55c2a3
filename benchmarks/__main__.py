"""python -m benchmarks [ROW ...] measures the rows of docs/performance.md; `step` in place of rows one whole step, and
`soak` what a long run under faults loses."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from benchmarks import soak, step
from benchmarks.families import DEFAULT, FAMILIES, ONLY_WHEN_NAMED, about, run_family
from benchmarks.machine import describe
from benchmarks.report import BLOCK, as_json, as_markdown, cells, screen_table
from benchmarks.result import Result
from benchmarks.session import Session
from camoe.config.kernel import KernelConfig
from camoe.config.refusal import not_an_option
from camoe.kernels.allocator import choose_allocator
from camoe.tracking.checkout import CODE
from camoe.tracking.marked_block import write_marked_block

PAGE = CODE / "docs" / "performance.md"


def main(arguments: list[str] | None = None) -> int:
    """Measures what is asked for; 1 when a correctness gate failed, else 0, targets missed or not."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["step"]:
        return step.main(given[1:])
    if given[:1] == ["soak"]:
        return soak.main(given[1:])
    parser = _parser()
    options = parser.parse_args(given)
    for name in options.rows:
        if name not in FAMILIES:
            parser.error(str(not_an_option("ROW", name, tuple(FAMILIES), noun="row")))
    if options.list:
        for name in FAMILIES:
            print(f"{name:20} {about(name)}{' (only when named)' if name in ONLY_WHEN_NAMED else ''}")
        return 0
    torch.set_num_threads(options.threads)
    choose_allocator(KernelConfig().allocator)  # as a run does; peers gain by it too
    console, machine = Console(stderr=True), describe()
    begin, results = time.perf_counter(), list[Result]()
    with console.status("") as status:
        session = Session(options.quick, options.repetitions, status.update)
        for name in options.rows or DEFAULT:
            for result in run_family(name, session):
                results.append(result)
                console.print(Text(" | ".join(cells(result)[:3]).replace("`", "")))
    console.print(screen_table(results))
    console.print(f"{len(results)} rows in {time.perf_counter() - begin:.0f} s")
    command = shlex.join(["python", "-m", "benchmarks", *given])
    _write(results, machine, command, options.out, page=options.page)
    return int(any(result.failed for result in results))


def _write(results: list[Result], machine: dict[str, str], command: str, out: Path, *, page: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "performance.json").write_text(as_json(results, machine, command) + "\n", encoding="utf-8")
    table = as_markdown(results, machine, command)
    (out / "performance.md").write_text(table + "\n", encoding="utf-8")
    print(f"{out / 'performance.json'}, {out / 'performance.md'}")
    if page:
        write_marked_block(PAGE, BLOCK, table)
        print(PAGE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="see --list; by default all that need no training")
    parser.add_argument("--list", action="store_true", help="what each ROW measures")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: tries the machinery")
    parser.add_argument(
        "--repetitions",
        type=int,
        default=7,
        help="of what is cheap to repeat, at most of what is dear (default 7; 1 is the fastest full run)",
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder of the JSON and the table")
    parser.add_argument("--page", action="store_true", help="also write the table into docs/performance.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
