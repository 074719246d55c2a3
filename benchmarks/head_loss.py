"""Output matrix and cross-entropy at a large vocabulary, against whole logits: time, and memory in fresh processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gate import require, worst_error
from benchmarks.gemm_floor import floor_of, record_products
from benchmarks.result import Result, at_least, at_most
from benchmarks.sample import Contestant, Sample
from benchmarks.session import Session
from benchmarks.workload import products_of_a_run
from camoe.kernels.linear_cross_entropy import linear_cross_entropy
from camoe.tracking.checkout import CODE
from camoe.tracking.resident_memory import resident_now, resident_peak

ROW = "head_loss"
LARGEST_ERROR = 1e-9  # of float64 losses and gradients
TOKENS, WORDS = 2048, 65_536
WIDTHS = (256, 768)


def whole_logits(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy of targets [N] from all logits [N,V] at once."""
    return F.cross_entropy(F.linear(hidden, weight), targets, reduction="sum")


def in_chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The same, as training computes it."""
    return linear_cross_entropy(hidden, weight, targets)[0]


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"ours": in_chunks, "whole logits": whole_logits}


def measure(session: Session) -> Iterator[Result]:
    """Time by width; memory at the smaller one."""
    small = make_inputs(37, 16, 301, torch.float64)
    error, name = worst_error(gradients(in_chunks, *small), gradients(whole_logits, *small))
    gate = require(error, LARGEST_ERROR, f"float64 loss and gradients (worst: {name})")
    tokens, words = session.pick((TOKENS, WORDS), (32, 301))
    for width in session.pick(WIDTHS, (16,)):
        session.say(f"head and loss, C{width}")
        yield _time(session, (tokens, width, words), gate)
    yield _memory((tokens, WIDTHS[0], words), gate)


def make_inputs(
    tokens: int, width: int, words: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden vectors [N,C], weight [V,C], targets [N]."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator, dtype=dtype).requires_grad_()
    weight = (torch.randn(words, width, generator=generator, dtype=dtype) * width**-0.5).requires_grad_()
    return hidden, weight, torch.randint(0, words, (tokens,), generator=generator)


def gradients(form: Callable[..., Tensor], hidden: Tensor, weight: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Loss and its gradients."""
    loss = form(hidden, weight, targets)
    return {"loss": loss, **dict(zip(("hidden", "weight"), torch.autograd.grad(loss, (hidden, weight)), strict=True))}


def _time(session: Session, size: tuple[int, int, int], gate: str) -> Result:
    inputs = make_inputs(*size)
    with products_of_a_run(size[0], size[1]):
        contestants: dict[str, Contestant] = {form: partial(gradients, f, *inputs) for form, f in FORMS.items()}
        contestants["products alone"] = floor_of(record_products(contestants["ours"]))
        seconds = session.race(contestants, 2)
    return Result(
        row=ROW,
        what=f"head + cross-entropy, forward + backward, against whole logits, {_name(size)}",
        value=seconds["whole logits"].over(seconds["ours"]),
        must=at_least(1.7),
        limit=seconds["whole logits"].over(seconds["products alone"]).median,
        figures=seconds,
        gate=gate,
    )


def _memory(size: tuple[int, int, int], gate: str) -> Result:
    logits_twice = Sample((2.0 * 4 * size[0] * size[2],), "bytes")
    used = {form: Sample((float(_extra_bytes(form, size)),), "bytes") for form in FORMS}
    return Result(
        row=ROW,
        what=f"memory of head + cross-entropy beyond inputs and gradients, over the logits twice, {_name(size)}",
        value=used["ours"].over(logits_twice),
        must=at_most(1 / 8),
        figures={**used, "logits twice": logits_twice},
        gate=gate,
    )


def _extra_bytes(form: str, size: tuple[int, int, int]) -> int:
    command = [sys.executable, "-m", "benchmarks.head_loss", form, *map(str, size), str(torch.get_num_threads())]
    return int(subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=True).stdout)


def _name(size: tuple[int, int, int]) -> str:
    return f"{size[0]} tokens, C{size[1]}, {size[2]:,} words"


def main() -> None:
    """Prints the bytes that one loss and its gradients need at most, less the gradients themselves."""
    parser = argparse.ArgumentParser(description="memory of head and loss, for `python -m benchmarks`")
    parser.add_argument("form", choices=FORMS)
    for name in ("tokens", "width", "words", "threads"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gradients(FORMS[options.form], *make_inputs(8, 16, 64))  # whatever is loaded on first use
    inputs = make_inputs(options.tokens, options.width, options.words)
    kept = sum(4 * tensor.numel() for tensor in inputs[:2])
    before = resident_now()
    gradients(FORMS[options.form], *inputs)
    print(max(0, resident_peak() - before - kept))


if __name__ == "__main__":
    main()
