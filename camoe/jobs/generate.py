"""Continue prompts with a run's newest model, or an exported one, and show which experts wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.inference.continuation import TextState
from camoe.inference.prompts import read_prompts
from camoe.inference.saved_text import load_text, save_text
from camoe.inference.token_routes import TokenRoutes
from camoe.inference.writer import Writer, Written
from camoe.jobs.output_file import SAFETENSORS_HEADER, refuse_overwriting
from camoe.jobs.trained_run import TrainedRun, open_trained_run
from camoe.tracking.routed_text import RoutedText, print_shares, print_text
from camoe.tracking.shown_path import shown_path


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print each prompt and its continuation, and keep them in samples/ of the run folder, or beside the file."""
    job = config.job
    prompts = None if job.prompts_file is None else read_prompts(Path(job.prompts_file), "job.prompts_file")
    if job.save_state is not None:
        refuse_overwriting("job.save_state", Path(job.save_state), b"{", SAFETENSORS_HEADER)
    trained = open_trained_run(config, command)
    router = trained.config.router
    if not router.causal:
        raise ConfigError(
            f"job.name: generate continues text token by token, but router.kind {router.kind} of {job.run} "
            "chooses by later tokens; job=evaluate gives its upper bound"
        )
    writer = Writer(trained.model, trained.origin.tokenizer, job, config.seed)
    console = Console()
    if prompts is not None:
        texts = writer.go_on([TextState() for _ in prompts], prompts, traced=True)
        for text in texts:
            _print(text, trained, console)
    else:
        texts = _one_text(writer, trained, console)
    _keep(texts, trained, together=prompts is not None)


def _one_text(writer: Writer, trained: TrainedRun, console: Console) -> list[Written]:
    """The turns of one text, which job.load_state may have begun."""
    job = writer.job
    text = TextState() if job.load_state is None else load_text(Path(job.load_state), trained.model, "job.load_state")
    turns = []
    for prompt in _lines(console) if job.interactive else [job.prompt]:
        turns += writer.go_on([text], [prompt], traced=True)
        writer.seed += 1
        _print(turns[-1], trained, console)
    if job.save_state is not None:
        save_text(Path(job.save_state), text, trained.model)
    return turns


def _lines(console: Console) -> Iterator[str]:
    """What the user types, line by line, until the end of input."""
    while True:
        if console.is_terminal:
            console.print("> ", end="")
        line = sys.stdin.readline()
        if not line:
            return
        yield line.removesuffix("\n")


def _print(written: Written, trained: TrainedRun, console: Console) -> None:
    if written.routes is None or not written.spans:
        console.file.write(written.text + "\n")
        return
    shown = _routed(written.spans, written.routes, trained)
    print_text(shown, console)
    print_shares(shown, console)


def _routed(spans: Sequence[str], routes: TokenRoutes, trained: TrainedRun) -> RoutedText:
    experts = trained.config.experts
    use = routes.transformer_use(experts.first_prefix)
    return RoutedText(experts, spans, use.mean(0).tolist(), use.mean(1).tolist(), routes.load(experts.total).tolist())


def _keep(texts: Sequence[Written], trained: TrainedRun, *, together: bool) -> None:
    """The text, or a batch's prompts and continuations as lines of JSON; and the page of both."""
    averaged = "_averaged" if trained.origin.weights == "averaged" else ""
    name = f"samples/step_{trained.origin.step:08d}{averaged}{'_batch' if together else ''}"
    if together:
        lines = [json.dumps({"prompt": text.prompt, "continuation": text.continuation}) + "\n" for text in texts]
        trained.result(f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    else:
        trained.result(f"{name}.txt").write_text("".join(text.text for text in texts), encoding="utf-8")
    from analysis.generation_page import write_generation_page  # a template engine, and only here

    facts = {"run": str(trained.source), "step": str(trained.origin.step), "weights": trained.origin.weights}
    page = write_generation_page(
        trained.result(f"{name}.html"), trained.config.name, facts, texts, trained.config.experts
    )
    print(f"page {shown_path(page)}", file=sys.stderr)
