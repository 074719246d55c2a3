"""DPO, masked answers and the reference policy, in small trainings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from camoe.config.run import RunConfig
from camoe.data.answer_data import prepare_answers
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.model.language_model import LanguageModel
from camoe.training.objectives import IGNORED, Batch, compute_losses
from camoe.training.preference import Preferences, preference_outcome
from camoe.training.training_text import AnswerText
from tests.small_run import small_run
from tests.training.small_trainer import small_trainer

SCHEDULE: dict[str, Any] = {
    "sft": {"steps": 3, "objective": "instruction", "data_profile": "sft"},
    "rlhf": {"steps": 4, "objective": "preference", "data_profile": "preferences"},
}


def _config(folder: Path) -> RunConfig:
    questions = [{"instruction": f"Say {n}."} for n in range(24)]
    sft = [{**question, "output": "ok" * (1 + n % 4)} for n, question in enumerate(questions)]
    pairs = [{**question, "chosen": "ok" * (1 + n % 4), "rejected": "no way"} for n, question in enumerate(questions)]
    for name, records in (("sft", sft), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    data = {"sft_path": str(folder / "sft.jsonl"), "preference_path": str(folder / "pairs.jsonl")}
    return small_run(
        phase={"schedule": {"normal": {"steps": 0}, **SCHEDULE}},
        data={**data, "valid_fraction": 0.3, "cache_dir": str(folder)},
        train={"ctx_len": 48},
    )


def _answers(config: RunConfig) -> dict[str, AnswerText]:
    return {
        profile: AnswerText.of(profile, prepare_answers(profile, config.data, ByteTokenizer()), 48, 4, 0)
        for profile in ("sft", "preferences")
    }


def test_dpo_equals_a_hand_computation() -> None:
    policy = torch.tensor([[-2.0, -3.0], [-5.0, -1.0]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([[-2.5, -2.0], [-4.0, -1.5]], dtype=torch.float64)
    outcome = preference_outcome(policy, reference, beta=0.2)
    margins = [0.2 * (0.5 + 1.0), 0.2 * (-1.0 - 0.5)]
    assert outcome.margin.tolist() == pytest.approx(margins, abs=1e-15)
    assert outcome.loss.tolist() == pytest.approx([math.log(1 + math.exp(-margin)) for margin in margins], abs=1e-15)
    assert {name: float(value) for name, value in outcome.means().items()} == pytest.approx(
        {"accuracy": 0.5, "margin": 0.0, "chosen_log_prob": -3.5, "rejected_log_prob": -2.0}, abs=1e-15
    )
    outcome.loss.sum().backward()
    assert policy.grad is not None
    slope = -0.2 / (1 + math.exp(margins[0]))
    assert policy.grad[0].tolist() == pytest.approx([slope, -slope], abs=1e-15)


def _batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 256, (4, 12), generator=generator)
    targets = tokens[:, 1:].clone()
    targets[:, :5] = IGNORED
    return Batch(tokens[:, :-1], targets)


def test_the_loss_of_a_batch_of_pairs_is_dpo_of_its_masked_log_probabilities() -> None:
    model = LanguageModel(small_run("off")).double()
    plain = _batch()
    reference = torch.tensor([[-50.0, -40.0], [-45.0, -48.0]], dtype=torch.float64)
    losses = compute_losses(model, Batch(plain.inputs, plain.targets, Preferences(reference, 0.1)))
    logits, _ = model(plain.inputs)
    log_probs = logits.log_softmax(-1).gather(-1, plain.targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    sums = log_probs.where(plain.mask, 0).sum(1).view(2, 2)
    expected = preference_outcome(sums, reference, 0.1)
    (gradient,) = torch.autograd.grad(expected.loss.mean(), model.emb.weight, retain_graph=True)
    (found,) = torch.autograd.grad(losses.terms[0].mean, model.emb.weight)
    assert float(losses.terms[0].mean.detach()) == pytest.approx(float(expected.loss.mean().detach()), rel=1e-12)
    torch.testing.assert_close(found, gradient, rtol=1e-8, atol=1e-12)
    assert not losses.token_loss[~plain.mask].any()


def test_no_gradient_comes_from_masked_targets() -> None:
    model = LanguageModel(small_run("off"))
    hidden = torch.randn(4, 11, 32, requires_grad=True)
    batch = _batch()
    nats, _ = model.cross_entropy(hidden, batch.targets)
    for loss in (nats, model.token_cross_entropy(hidden, batch.targets).sum()):
        (gradient,) = torch.autograd.grad(loss, hidden)
        assert not gradient[~batch.mask].any()
        assert gradient[batch.mask].any(-1).all()


def test_padding_changes_no_answer_of_a_row(tmp_path: Path) -> None:
    rows = _answers(_config(tmp_path))["sft"].loader.rows
    model = LanguageModel(small_run("off")).double()
    items = rows.items[[0, 1, 2, 3]]
    tokens, learned = (torch.from_numpy(part) for part in rows.read(items))
    together, _ = model(tokens[:, :-1])
    for row, item in enumerate(items):
        alone = torch.from_numpy(rows.read(item[None])[0])
        logits, _ = model(alone[:, :-1])
        torch.testing.assert_close(together[row, : logits.shape[1]], logits[0], rtol=1e-9, atol=1e-9)
        assert not learned[row, logits.shape[1] :].any()


def test_a_resumed_run_has_the_very_reference_and_the_same_losses(tmp_path: Path) -> None:
    config = _config(tmp_path)
    answers = _answers(config)
    with small_trainer(config, tmp_path / "whole", answers) as trainer:
        for _ in range(7):
            trainer.advance()
        whole, score = trainer.model.state_dict(), trainer.scores.of_answers("final")
    assert {"final_preference/accuracy", "final_answers/bpb"} <= set(score)
    with small_trainer(config, tmp_path / "first", answers) as trainer:
        for _ in range(5):
            trainer.advance()
        snapshot = trainer.snapshot()
    with small_trainer(config, tmp_path / "second", answers) as trainer:
        snapshot.values["tracker"].update(metrics_position=0, ledger_position=0)
        trainer.restore(snapshot)
        trainer.advance()
        trainer.advance()
        assert trainer.scores.of_answers("final") == score
        for name, value in trainer.model.state_dict().items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, whole[name]), name
