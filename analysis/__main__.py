"""python -m analysis COMMAND: reads run folders; trains nothing, and needs neither model nor accelerator."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from analysis.comparison_command import add_comparison
from analysis.ledger_statement import statement_of
from analysis.plots.waterfall import save_waterfall
from analysis.run_files import read_ledger
from analysis.run_report import write_run_report
from analysis.statement_tables import statement_page
from camoe.config import ConfigError
from camoe.config.refusal import EXIT_CODE
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.shown_path import shown_path

CLOSED_PIPE = 141  # what a shell reports after SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 2 and one line on stderr for a user's mistake."""
    try:
        options = _parser().parse_args(arguments)
        options.command(options)
        sys.stdout.flush()
    except ConfigError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return EXIT_CODE
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's own last flush complains
        return CLOSED_PIPE
    except OSError as error:
        if error.filename is None:
            raise
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_CODE
    return 0


class OneLineParser(argparse.ArgumentParser):
    """Refuses a wrong command line as everything else is refused."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def statement(options: argparse.Namespace) -> None:
    """The market's books as a statement, and as a waterfall plot."""
    found = statement_of(read_ledger(options.run_folder), layer=options.layer, every=options.every)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(statement_page(found))
    out = options.out or options.run_folder / "analysis"
    for path in save_waterfall(found, out):
        print(shown_path(path.resolve()))


def report(options: argparse.Namespace) -> None:
    """The page of one run: its report.html, made again from its files."""
    print(shown_path(write_run_report(RunFolder.open(options.run_folder))))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    books = commands.add_parser("statement", help=statement.__doc__, description=statement.__doc__)
    books.set_defaults(command=statement)
    books.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="outputs/<date>/<run>")
    books.add_argument("--layer", type=int, metavar="N", help="one layer only, from 0; else all of them")
    books.add_argument("--every", type=_tokens, metavar="TOKENS", help="length of a period, as 1e6; else a tenth")
    books.add_argument("--out", type=Path, metavar="DIR", help="where plots go; else RUN_FOLDER/analysis")
    add_comparison(commands)
    page = commands.add_parser("report", help=report.__doc__, description=report.__doc__)
    page.set_defaults(command=report)
    page.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="outputs/<date>/<run>, in whatever state")
    return parser


def _tokens(text: str) -> int:
    """A positive whole number, also written 1e6."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of tokens, at least 1")
    return round(number)


if __name__ == "__main__":
    sys.exit(main())
