"""A run folder with a market, of figures that are easy to check: everything that its page shows, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.analysis.ledger_folder import records as ledger_records

LAYERS, EXPERTS, WINDOWS, TOKENS = 3, 4, 12, 100
CONFIG: dict[str, Any] = {
    "name": "camoe",
    "experts": {"rwkv_ffn": 3, "transformer_prefix": 1},
    "router": {"top_k": 2},
    "economy": {"kind": "calibrated"},
    "seeds": {"init": 1, "data": 2, "router_noise": 3},
    "job": {"prompt": "def "},
}
LOG = [
    "2026-01-02 03:04:05 INFO run folder /somewhere/else",
    "2026-01-02 03:04:05 INFO device: cpu (torch finds no CUDA device)",
    "2026-01-02 03:04:05 INFO parameters: 844,772 (606,692 active for a token under an even load)",
    "2026-01-02 03:04:06 INFO step 1/12  normal  loss 6.2610  1,455 tokens/s  0:00:34 left",
    "2026-01-02 03:04:07 WARNING checkpoint passed over: it was torn",
]


def window(step: int) -> dict[str, Any]:
    """One record of training; shares drift from even to those of `share`."""
    drift = step / WINDOWS
    shares = ((1 - drift) / EXPERTS + drift * share()).tolist()
    return {
        "step": step,
        "time/unix": 1000.0 + step,
        "time/tokens_per_s": 50.0 + step,
        "loss/total": 4.0 - 0.1 * step,
        "loss/language_model": 4.0 - 0.1 * step,
        "progress/tokens_seen": TOKENS * step,
        "progress/grad_norm": 1.0 / step,
        "phase/name": "warm" if step <= 4 else "normal",
        "phase/lr_router_gate": 0.01,
        "phase/lr_bridge": 0.01,
        "phase/lr_critic": 0.02,
        "routing/maxvio_batch": 0.5,
        "routing/maxvio_batch/worst": 0.8,
        "routing/maxvio_noise_floor": 0.05,
        "routing/gate_mi": 0.1,
        "routing/gate_entropy_token": 0.8,
        "routing/load/by_expert": shares,
        "routing/trans_share/by_layer": [0.1, 0.2, 0.3],
        "routing/flops_per_token": 1e6,
        "market/capital_share/by_expert": shares,
        "market/credit/by_expert": [[0.01, 0.02, -0.01, 0.03]] * LAYERS,
        "market/credit_error/by_expert": [[0.005] * EXPERTS] * LAYERS,
        "market/alpha/by_layer": [0.4, 0.5, 0.6],
        "market/holdout_gain": 0.02,
        "market/holdout_low": -0.01,
        "market/holdout_high": 0.05,
        "market/efficiency": 0.4,
    }


def share() -> np.ndarray:
    """[L,E] that sums to 1 over E."""
    return np.tile(np.array([0.1, 0.2, 0.3, 0.4]), (LAYERS, 1))


def evaluation(step: int) -> dict[str, Any]:
    """A record of valid/."""
    return {
        "step": step,
        "time/unix": 1000.5 + step,
        "valid/loss": 4.0 - 0.1 * step,
        "valid/bpb": 2.0,
        "valid/bytes": 99,
    }


def final() -> dict[str, Any]:
    """The last record of a finished run."""
    return {
        "step": WINDOWS,
        "time/unix": 1090.0,
        "final/loss": 2.75,
        "final/ppl": 15.6,
        "final/bpb": 1.9876,
        "final/bytes": 4000,
        "final/gzip_bpb": 2.5,
        "final/unigram_bpb": 4.5,
        "final/maxvio_global": 0.6,
        "final/maxvio_global/worst": 0.7,
        "final/dead_experts": 0.0,
        "final/dead_experts/by_layer": [0.0] * LAYERS,
        "final/trans_share": 0.2,
        "final/flops_per_token": 1.1e6,
        "final/load/by_expert": share().tolist(),
        "progress/tokens_seen": TOKENS * WINDOWS,
        "progress/stream_hash": "abc",
    }


def write_probe(folder: Path) -> None:
    """Three readings of eight tokens, two winners each, that agree with the last reading more and more."""
    place = folder / "probe"
    place.mkdir()
    tokens = np.arange(8)
    np.savez(place / "tokens.npz", input=tokens, target=tokens, document=0 * tokens, occurrences=tokens)
    last = np.stack([tokens % EXPERTS, (tokens + 1) % EXPERTS], axis=-1)
    for step, agreeing in ((4, 2), (8, 4), (12, 8)):
        winners = np.where(tokens[:, None] < agreeing, last, (last + 2) % EXPERTS)
        np.savez(place / f"step_{step:06d}.npz", winners=np.stack([winners] * LAYERS), nats=np.zeros(8))


def market_folder(
    root: Path,
    *,
    windows: int = WINDOWS,
    finished: bool = True,
    config: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    sample: str = "def f(x):\n    return x",
    overrides: tuple[str, ...] = ("economy=calibrated", "seed=1"),
    optional: bool = True,
) -> Path:
    """Writes the files; `optional=False` leaves out all that an old or young run may lack."""
    folder = root / "12-00-00-camoe-0123456789"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(json.dumps({**CONFIG, **(config or {})}))  # JSON is YAML
    (folder / "provenance.json").write_text(json.dumps({"signature": "0123456789", **(provenance or {})}))
    lines = [window(step) for step in range(1, windows + 1)]
    lines += [evaluation(step) for step in range(4, windows + 1, 4)]
    if finished:
        lines.append(final())
        process = {"host": "elsewhere", "pid": 1, "started": 1.0}
        (folder / "status.json").write_text(json.dumps({"state": "finished", "process": process}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if optional:
        (folder / "overrides.yaml").write_text("".join(f"- {json.dumps(item)}\n" for item in overrides))
        (folder / "ledger.jsonl").write_text("".join(json.dumps(record) + "\n" for record in ledger_records()))
        (folder / "train.log").write_text("\n".join(LOG))
        (folder / "samples" / "final.txt").write_text(sample)
        write_probe(folder)
    return folder
