"""The language-model loss without whole logits is the cross-entropy of the model's logits, and so are its gradients."""

import pytest
import torch
from torch.nn import functional

from camoe.model.language_model import LanguageModel
from camoe.routing.election_terms import NO_EXPERIMENT
from camoe.training.objectives import IGNORED, Batch, compute_losses, settlement_record
from tests.small_run import small_run


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_is_the_cross_entropy_of_the_logits(tied: bool) -> None:
    # in float64: an untied embedding starts at 1e-4, and its gradients reach 200
    model = LanguageModel(small_run(model={"tie_embeddings": tied})).double()
    tokens = torch.randint(0, 256, (2, 17), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens[:, :-1], tokens[:, 1:].clone())
    batch.targets[0, 9:] = IGNORED
    window_tokens = torch.tensor(100)

    losses = compute_losses(model, batch, window_tokens=window_tokens)
    losses.terms[0].value.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)

    logits, _ = model(batch.inputs)
    expected = functional.cross_entropy(logits.transpose(1, 2), batch.targets, ignore_index=IGNORED, reduction="none")
    (expected.sum() / window_tokens).backward()

    torch.testing.assert_close(losses.token_loss, expected.detach())
    assert not losses.token_loss.requires_grad
    torch.testing.assert_close(losses.terms[0].mean.detach(), expected.sum().detach() / batch.mask.sum())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.any():
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("economy", ["v21", "calibrated"])
def test_what_is_masked_behind_a_row_adds_to_no_loss_no_gradient_and_no_market(economy: str) -> None:
    model = LanguageModel(small_run(economy, router={"losses": {"switch": {"weight": 0.1}}})).double()
    tokens = torch.randint(1, 256, (2, 15), generator=torch.Generator().manual_seed(0))
    targets = tokens[:, 1:].clone()
    targets[:, :3] = targets[:, 9:] = IGNORED
    seen = []
    for length in (9, 14):
        model.zero_grad(set_to_none=True)
        losses = compute_losses(model, Batch(tokens[:, :length], targets[:, :length]))
        losses.total.backward()
        market = settlement_record(model, losses, NO_EXPERIMENT, torch.tensor(12))
        gradients = [torch.zeros(1) if p.grad is None else p.grad.clone() for p in model.parameters()]
        seen.append((losses.named(), gradients, market.token_loss[market.mask], market.mask.sum()))
    assert set(seen[0][0]) > {"language_model"}, "the router's and the critic's losses are among them"
    torch.testing.assert_close(seen[0], seen[1], rtol=2e-6, atol=1e-9)  # the critics compute in float32
