"""Initial weights that depend on a module's name alone, so that arms of an ablation share what they have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Draws on the CPU come from (seed, name) inside; the CPU's generator is left as it was, others are not touched.

    Whatever else a composition builds before, between or after, a module of the same name and shape starts equal.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed every GPU for good.
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "little"))
        yield
