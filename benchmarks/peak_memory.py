"""Memory of one training step, each form in a process of its own: what it has at most beyond the imported libraries."""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

import torch

from benchmarks.result import Result, at_most
from benchmarks.sample import Sample
from benchmarks.session import Session
from benchmarks.whole_step import TINY, our_step, published_step, same_gradients
from benchmarks.workload import StepShape, build_model
from camoe.config.kernel import KernelConfig
from camoe.kernels.allocator import choose_allocator
from camoe.tracking.checkout import CODE
from camoe.tracking.resident_memory import resident_now, resident_peak

ROW = "peak_memory"
FORMS = {"ours": our_step, "published": published_step}
PUBLISHED = {4096: 3.9e9, 65_536: 6.1e9}  # bytes by vocabulary, as once measured on the published code itself


def measure(session: Session) -> Iterator[Result]:
    """A step with a small and with the large vocabulary, and one that computes TimeMix again."""
    shape = session.pick(StepShape(), TINY)
    gate = same_gradients(shape)
    shapes = (*(replace(shape, vocab=vocab) for vocab in PUBLISHED), replace(shape, recompute="time_mix"))
    for wanted in session.pick(shapes, (shape,)):
        session.say(f"peak memory, {wanted}")
        peers = {"ours": wanted, "published": replace(wanted, recompute="none")}
        used = {form: Sample((float(step_memory(peer, form)),), "bytes") for form, peer in peers.items()}
        yield Result(
            row=ROW,
            what=f"peak memory of a training step, {wanted}",
            value=used["ours"],
            must=at_most(PUBLISHED[wanted.vocab] / 4) if wanted.vocab in PUBLISHED else None,
            figures={"published form": used["published"], "ours over it": used["ours"].over(used["published"])},
            gate=gate,
        )


@functools.cache
def step_memory(shape: StepShape, form: str) -> int:
    """Bytes, measured in a fresh process with as many threads as this one has."""
    arguments = [form, str(torch.get_num_threads()), json.dumps(asdict(shape))]
    command = [sys.executable, "-m", "benchmarks.peak_memory", *arguments]
    done = subprocess.run(command, cwd=CODE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{form}: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


def main() -> None:
    """Prints the bytes of two steps of one form: the second has the optimiser's state beside it."""
    parser = argparse.ArgumentParser(description="memory of a training step, for `python -m benchmarks`")
    parser.add_argument("form", choices=FORMS)
    parser.add_argument("threads", type=int)
    parser.add_argument("shape", type=json.loads)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.form == "ours":
        choose_allocator(KernelConfig().allocator)
    shape = StepShape(**options.shape)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # torch's first optimiser imports its compiler
    before = resident_now()
    step = FORMS[options.form](build_model(shape.config()), shape)
    step()
    step()
    print(resident_peak() - before)


if __name__ == "__main__":
    main()
