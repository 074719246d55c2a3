"""A small model trained under the calibrated economy on real text, and what its experts are worth.

Two layers, width 64, 8 ReLU^2 experts of which 2 serve, 1024 words, 64 tokens of context: 256k tokens in 250 steps.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console
from torch import Tensor

from camoe.config.calibrated import AlphaConfig, CalibratedConfig, CreditConfig, PriceConfig
from camoe.config.run import RunConfig
from camoe.data.preparation import prepare
from camoe.economy.calibrated.merit import Profit, profit
from camoe.economy.calibrated.window import CalibratedWindow
from camoe.economy.market import CalibratedMarket, Market
from camoe.kernels.wkv7 import choose_backend
from camoe.model.language_model import LanguageModel
from camoe.model.routing_trace import RoutingTrace
from camoe.routing.election_terms import NO_EXPERIMENT
from camoe.tracking.console import ProgressDisplay
from camoe.tracking.run_folder import RunFolder
from camoe.tracking.tracker import Tracker
from camoe.training.audit import measure_credit
from camoe.training.checkpoint import CheckpointStore
from camoe.training.experiments import Experiments
from camoe.training.objectives import Batch, compute_losses, settlement_record
from camoe.training.trainer import Trainer
from camoe.training.training_text import TrainingText

SEQUENCES = 16
"""Of a training step."""
MEASURED = 64
"""Of a batch of measurements."""


@dataclass(frozen=True)
class Size:
    """How much is trained and measured. steps: of 16 sequences. truth, audits: held-out sequences of either."""

    n_embd: int = 64
    steps: int = 250
    ctx: int = 64
    vocab: int = 1024
    max_train_bytes: int | None = None
    truth: int = 512
    audits: int = 1024
    few_audits: int = 256

    def config(self, seed: int, placebo: str = "none") -> RunConfig:
        """The run that trains it; everything not named here is the product's default."""
        groups: dict[str, Any] = {
            "model": {"n_embd": self.n_embd, "n_layer": 2, "head_size": 16},
            "experts": {"rwkv_ffn": 8, "transformer_prefix": 0},
            "economy": {"placebo": {"kind": placebo}},
            "tokenizer": {"kind": "bpe", "vocab_size": self.vocab},
            "data": {"max_train_bytes": self.max_train_bytes},
            "phase": {"schedule": {"normal": {"steps": self.steps}}},
            "train": {"ctx_len": self.ctx, "micro_batch": SEQUENCES, "base_lr": 8e-3},
            "tracking": {"mlflow": False},
            "seeds": {"init": seed, "data": seed, "router_noise": seed},
        }
        base = OmegaConf.merge(OmegaConf.structured(RunConfig), {"economy": OmegaConf.structured(CalibratedConfig)})
        config = OmegaConf.to_object(OmegaConf.merge(base, groups))
        assert isinstance(config, RunConfig)
        return config


TINY = Size(n_embd=32, steps=3, ctx=16, vocab=300, max_train_bytes=100_000, truth=32, audits=32, few_audits=16)


@dataclass(frozen=True)
class Trained:
    """A trained model; held-out loss in nats per token; its market; sequences to measure on, [N,T+1]."""

    model: LanguageModel
    market: CalibratedMarket
    loss: float
    dead_experts: float
    truth: Tensor
    audits: Tensor


def train(size: Size, seed: int, placebo: str = "none") -> Trained:
    """Train by the product's own trainer; the run folder is forgotten."""
    config = size.config(seed, placebo)
    text = TrainingText.of(config, prepare(config.data, config.tokenizer))
    model = LanguageModel(config)
    model.use_wkv_backend(choose_backend("auto", "cpu").name, config.kernel.chunk_len)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.create(Path(place), "bench", "0", config=asdict(config))
        tracker, checkpoints = Tracker.open(folder, config.tracking), CheckpointStore(folder.checkpoints, 2)
        with ProgressDisplay(size.steps, size.steps, folder.log_file, Console(file=io.StringIO())) as display:
            trainer = Trainer(config, model, text, tracker, checkpoints, display)
            for _ in range(size.steps):
                trainer.advance()
            final = trainer.scores.of_text(text.held_out.spread(size.truth))
            tracker.finish("finished")
    assert isinstance(model.market, CalibratedMarket)
    dead = float(np.mean(final.routing.metrics()["routing/dead_experts"]))
    return Trained(model, model.market, final.loss, dead, *_held_out(text, size, seed))


def _held_out(text: TrainingText, size: Size, seed: int) -> tuple[Tensor, Tensor]:
    """Held-out sequences of truth and of estimates, of which none is in both."""
    whole = [tokens[inside.all(1)] for tokens, inside in text.held_out.batches(1024)]
    windows = torch.from_numpy(np.concatenate(whole))
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    if len(windows) < size.truth + size.audits:
        raise ValueError(f"{size.truth + size.audits} held-out sequences are wanted, the text has {len(windows)}")
    return windows[order[: size.truth]], windows[order[size.truth :][: size.audits]]


def measured(model: LanguageModel, windows: Tensor, kind: str, seed: int = 0) -> CalibratedWindow:
    """What a settlement would be told of these sequences [N,T+1] by credit `kind`, every one audited in every layer."""
    market = _bookkeeper(model, kind)
    experiments, window = Experiments(seed, market, model.config.experts.total), market.open_window()
    assert isinstance(window, CalibratedWindow)
    layers = model.config.model.n_layer if market.audits else 1
    for number, batch in enumerate(batches(windows)):
        for layer in range(layers):
            step = number * layers + layer
            draw = experiments.of_step(step, len(batch.inputs)).audit_within(slice(0, MEASURED), batch.inputs.device)
            with torch.no_grad():
                trace = RoutingTrace(audited_layer=layer)
                losses = compute_losses(model, batch, NO_EXPERIMENT, trace)
            if draw is None or market.audits is None:
                window.add(settlement_record(model, losses, NO_EXPERIMENT, losses.mask.sum()))
            else:
                window.add_credit(measure_credit(model, batch, NO_EXPERIMENT, losses, draw, market.audits.kind))
    return window


def worth(window: CalibratedWindow) -> Profit:
    """Values in nats per served token with their standard errors, not shrunk, as the market's own law has them."""
    assert window.credit is not None
    return profit(window.credit.credit, window.credit.squares, prior_tokens=0.0)


def batches(windows: Tensor) -> Iterator[Batch]:
    """Sequences [N,T+1], some at a time."""
    for part in windows.split(MEASURED):
        yield Batch(part[:, :-1], part[:, 1:])


def _bookkeeper(model: LanguageModel, kind: str) -> CalibratedMarket:
    """A fresh market of the model's economy that audits everything and charges no price."""
    assert isinstance(model.config.economy, CalibratedConfig)
    economy = replace(
        model.config.economy,
        credit=CreditConfig(kind=kind, share=1.0),
        price=PriceConfig(kind="none"),
        alpha=AlphaConfig(kind="fixed"),
    )
    sizes = model.config.model.n_layer, model.config.experts.total, model.config.router.top_k
    market = Market.build(economy, *sizes)
    assert isinstance(market, CalibratedMarket)
    return market
