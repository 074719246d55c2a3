"""Write a run's newest weights in few bits to one small file, read it back, and score both."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from camoe.config import ConfigError, RunConfig
from camoe.config.command_record import CommandRecord
from camoe.config.evaluation import EvaluationConfig
from camoe.config.export import ExportFormat
from camoe.config.job import JobConfig
from camoe.inference.evaluation import Evaluation
from camoe.inference.export.container import MAGIC
from camoe.inference.export.exported_model import load_export, pack_model
from camoe.inference.export.size_report import ScoredFile, class_sizes, format_table, refuse_too_large, size_table
from camoe.jobs.evaluate import score, scoring
from camoe.jobs.output_file import refuse_overwriting
from camoe.jobs.trained_run import TrainedRun, open_trained_run
from camoe.tracking.atomic_file import write_bytes, write_json
from camoe.tracking.shown_path import shown_path


def run(config: RunConfig, command: CommandRecord) -> None:
    """Print sizes by class and bits per byte of both models; the file's report lies beside it as FILE.json.

    A file larger than job.max_bytes is a ConfigError, and nothing is written.
    """
    job = config.job
    trained = open_trained_run(config, command)
    file = _place(job, trained)
    packed = pack_model(trained.model, trained.origin, job.format, job.zstd_level)
    sizes = class_sizes(packed)
    if job.max_bytes is not None:
        refuse_too_large(sizes, job.max_bytes)
    write_bytes(file, packed.container.content)
    console = Console()
    console.print(size_table(sizes))
    own = scoring(config, command, trained.config)
    raw, again = score(trained, own, trained.model), _score_file(file, trained, config, own)
    compared = [asdict(row) for row in _compared(trained, config, own, raw, console)]
    classes = {name: asdict(size) for name, size in sizes.items()}
    report = {"bytes": file.stat().st_size, "classes": classes, **_scores(raw, again), "compared": compared}
    write_json(Path(f"{file}.json"), report)
    change = again.bits_per_byte - raw.bits_per_byte
    print(
        f"{raw.bits_per_byte:.4f} bits per byte as trained, {again.bits_per_byte:.4f} as exported ({change:+.5f}), "
        f"over {raw.text_bytes:,} bytes of held-out text, {own.in_words(trained.config.train.ctx_len)}\n"
        f"{file.stat().st_size:,} bytes in {shown_path(file)}"
    )


def _place(job: JobConfig, trained: TrainedRun) -> Path:
    """Where the file will lie; ConfigError before any work where it cannot."""
    if trained.source.is_file():
        raise ConfigError(f"job.run: {trained.source} is exported already; give the run folder that it came from")
    file = Path(job.output) if job.output else trained.result("export.camoe")
    if not file.parent.is_dir() or file.is_dir():
        raise ConfigError(f"job.output: {file} is no file in a folder that exists")
    refuse_overwriting("job.output", file, MAGIC)
    return file


def _score_file(file: Path, trained: TrainedRun, config: RunConfig, own: EvaluationConfig) -> Evaluation:
    exported = load_export(file).to(trained.placement.device)
    trained.placement.apply(exported, config.kernel)
    return score(trained, own, exported)


def _compared(
    trained: TrainedRun, config: RunConfig, own: EvaluationConfig, raw: Evaluation, console: Console
) -> list[ScoredFile]:
    """The weights as trained, and a file of each of job.compare_formats, written, scored, printed and thrown away."""
    if not config.job.compare_formats:
        return []
    weights = sum(value.nbytes for value in trained.model.state_dict().values() if isinstance(value, Tensor))
    rows = [ScoredFile("as trained", weights, raw.bits_per_byte)]
    with tempfile.TemporaryDirectory() as folder:
        for numbers in config.job.compare_formats:
            file = Path(folder, numbers)
            packed = pack_model(trained.model, trained.origin, ExportFormat.alike(numbers), config.job.zstd_level)
            write_bytes(file, packed.container.content)
            bits = _score_file(file, trained, config, own).bits_per_byte
            rows.append(ScoredFile(numbers, file.stat().st_size, bits))
    console.print(format_table(rows))
    return rows


def _scores(raw: Evaluation, exported: Evaluation) -> dict[str, Any]:
    return {
        "bits_per_byte": {"raw": raw.bits_per_byte, "exported": exported.bits_per_byte},
        "change": exported.bits_per_byte - raw.bits_per_byte,
        "text_bytes": raw.text_bytes,
    }
