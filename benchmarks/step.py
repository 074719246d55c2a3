"""The whole step of one shape: speed of training, reading and generating, and memory, a JSON line each."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import torch

from benchmarks.generation import CONTEXTS, carried_token, context_of, published_token, same_logits
from benchmarks.peak_memory import FORMS, step_memory
from benchmarks.published_camoe import PublishedCaMoE
from benchmarks.sample import Contestant, Sample, interleaved
from benchmarks.whole_step import our_step, published_step, same_gradients
from benchmarks.workload import DTYPES, EXTRAS, StepShape, build_model
from camoe.config.kernel import KernelConfig
from camoe.kernels.allocator import choose_allocator
from camoe.model.language_model import LanguageModel

Measure = tuple[str, dict[str, Sample]]
HELP = {
    "n_embd": "channels C",
    "n_layer": "layers L",
    "experts": "expert mix of a layer",
    "prefix_len": "rows P of the prefix",
    "low_rank": "rank r of the bridge",
    "vocab": "words V",
    "ctx": "tokens of a sequence",
    "batch": "sequences of a step",
    "recompute": "train.recompute of ours",
    "compile": "kernel.compile of ours",
    "dtype": f"of the matrix products: {', '.join(DTYPES)}",
}


def main(arguments: list[str]) -> int:
    """Prints one JSON line per measure."""
    options = vars(_parser().parse_args(arguments))
    repetitions, published = options.pop("repetitions"), options.pop("published")
    torch.set_num_threads(options.pop("threads"))
    choose_allocator(KernelConfig().allocator)
    shape = StepShape(**options)
    gate = same_gradients(shape)
    for name, samples in measures(shape, repetitions, published=published):
        print(json.dumps(_line(name, samples, shape, gate)), flush=True)
    return 0


def measures(shape: StepShape, repetitions: int, *, published: bool) -> Iterator[Measure]:
    """Every measure by name, ours and, where wanted, the published form's."""
    model = build_model(shape.config())
    forms = ("ours", "published") if published else ("ours",)
    steps: dict[str, Contestant] = {"ours": our_step(model, shape), "published": published_step(model, shape)}
    readings = _readings(model, shape)
    for name, contestants in (("train_tokens_per_s", steps), ("forward_tokens_per_s", readings)):
        seconds = interleaved({form: contestants[form] for form in forms}, repetitions)
        yield name, {form: sample.rate(shape.tokens, "tokens/s") for form, sample in seconds.items()}
    same_logits(model, context_of(shape, 64))
    for length in CONTEXTS:
        context = context_of(shape, length)
        tokens = {"ours": carried_token(model, context), "published": published_token(model, context)}
        yield f"s_per_token_at_{length}", interleaved({form: tokens[form] for form in forms}, repetitions)
    yield "peak_memory", {form: Sample((float(step_memory(shape, form)),), "bytes") for form in FORMS if form in forms}


def _readings(model: LanguageModel, shape: StepShape) -> dict[str, Contestant]:
    tokens, published = shape.batches()[0].inputs, PublishedCaMoE(model)

    @torch.no_grad()
    def read() -> None:
        with shape.precision():
            model(tokens)

    return {"ours": read, "published": torch.no_grad()(partial(published.logits, tokens))}


def _line(name: str, samples: dict[str, Sample], shape: StepShape, gate: str) -> dict[str, Any]:
    line: dict[str, Any] = {"measure": name, "unit": samples["ours"].unit}
    for form, sample in samples.items():
        line[form] = {"median": sample.median, "low": sample.low, "high": sample.high}
    return {**line, "shape": asdict(shape), "threads": torch.get_num_threads(), "gate": gate}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks step", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for field in fields(StepShape):
        kind = type(field.default)
        choices = {"dtype": DTYPES, **EXTRAS}.get(field.name)
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=field.default, choices=choices, help=HELP[field.name])
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--repetitions", type=int, default=3, help="of every measure")
    parser.add_argument(
        "--published",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the published form beside ours",
    )
    return parser
