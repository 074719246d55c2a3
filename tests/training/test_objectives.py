"""The language-model loss without whole logits is the cross-entropy of the model's logits, and so are its gradients."""

import pytest
import torch
from torch.nn import functional

from camoe.model.language_model import LanguageModel
from camoe.training.objectives import IGNORED, Batch, compute_losses
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
