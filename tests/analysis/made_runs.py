"""Run folders made by the project's own writers, with figures that a test chooses; and the sweep.json over them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from camoe.config.signature import DIGITS
from camoe.tracking.metrics_log import MetricsLog
from camoe.tracking.run_folder import RunFolder
from tests.small_run import small_run

BYTES_PER_TOKEN = 4.0
STEPS = (2, 4, 6, 8, 10, 12)  # of evaluations and log records
TOKENS_PER_STEP = 64
LAYERS, EXPERTS = 2, 4
WEIGHTS = ("rwkv_backbone", "router_gate", "rwkv_experts", "critic")
BEGAN = datetime(2026, 1, 2, 3, 4, 5)


def made_run(
    root: Path,
    arm: str,
    seed: int,
    bpb: float = 1.0,
    *,
    state: str = "finished",
    final: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    evaluations: Sequence[float] | None = None,
    router_noise: int | None = None,
    router: str = "dual_path",
    now: datetime | None = None,
) -> Path:
    """One run below `root`/outputs; `final` and `facts` replace what the last record and the provenance say."""
    seeds = {"init": seed, "data": seed, "router_noise": seed if router_noise is None else router_noise}
    config = small_run("off", name=arm, seeds=seeds, router={"kind": router})
    folder = RunFolder.create(
        root / "outputs",
        arm,
        signature_of(arm, seed),
        config=asdict(config),
        overrides=[f"name={arm}", f"seed={seed}", f"router.noise_std={len(arm) / 100}"],
        provenance={
            "data": "text",
            "initial_weights_by_group": {group: f"{group}-{seed}" for group in WEIGHTS},
            **(facts or {}),
        },
        now=now or BEGAN + timedelta(seconds=seed),
    )
    log = MetricsLog(folder.metrics_file)
    values = evaluations or [bpb + 0.1 * (len(STEPS) - 1 - index) for index in range(len(STEPS))]
    for step, value in zip(STEPS, values, strict=False):
        log.write({"step": step, "time/unix": 100.0 + step, **_training(step)})
        log.write({"step": step, "time/unix": 100.5 + step, "valid/bpb": value, "valid/loss": nats(value)})
    if state == "finished":
        log.write({"step": STEPS[-1], "time/unix": 200.0, **_final(bpb, seed), **(final or {})})
    log.close()
    if state != "running":
        folder.set_status(state, "" if state == "finished" else "RuntimeError: out of luck")  # type: ignore[arg-type]
        folder.unlock()
    return folder.path


def made_sweep(root: Path, name: str, arms: Sequence[tuple[str, int]], plan: Mapping[str, Any] | None = None) -> Path:
    """outputs/sweeps/NAME/sweep.json as it is written before the first job."""
    folder = root / "outputs" / "sweeps" / name
    folder.mkdir(parents=True)
    planned = [
        {"arm": arm, "seed": seed, "overrides": [f"name={arm}", f"seed={seed}"], "signature": signature_of(arm, seed)}
        for arm, seed in arms
    ]
    content = {
        "sweep": name,
        "command": f"run.py -m +sweeps={name}",
        "created": "2026-01-02T03:04:05",
        "analysis": dict(plan or {}),
        "parent_run_id": None,
        "arms": planned,
    }
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder


def signature_of(arm: str, seed: int) -> str:
    """A signature that differs with both."""
    return hashlib.sha256(f"{arm} {seed}".encode()).hexdigest()[:DIGITS]


def nats(bpb: float) -> float:
    """Nats per token of that many bits per byte."""
    return bpb * math.log(2) * BYTES_PER_TOKEN


def _training(step: int) -> dict[str, Any]:
    load = [[(1 + expert + layer) / 14 for expert in range(EXPERTS)] for layer in range(LAYERS)]
    return {
        "loss/total": 3.0,
        "routing/maxvio_batch": 0.5,
        "routing/maxvio_noise_floor": 0.05,
        "routing/load/by_expert": load,
        "routing/load_entropy/by_layer": [0.9, 0.8],
        "progress/tokens_seen": step * TOKENS_PER_STEP,
        "time/training_s": 0.5 * step,
        "time/tokens_per_s": 128.0 + step,
        "time/peak_memory": 1000 + step,
    }


def _final(bpb: float, seed: int) -> dict[str, Any]:
    return {
        "final/bpb": bpb,
        "final/loss": nats(bpb),
        "final/ppl": math.exp(nats(bpb)),
        "final/bytes": 4000,
        "final/flops_per_token": 1e6,
        "final/maxvio_global": 0.25,
        "final/maxvio_noise_floor": 0.02,
        "final/bpb_error": 0.01,
        "final/dead_experts": 1.0,
        "progress/tokens_seen": STEPS[-1] * TOKENS_PER_STEP,
        "progress/stream_hash": f"stream-{seed}",
    }
