"""Skip connections over depth and learned scales of the stream, against blocks written out, in every way they run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camoe.config import ConfigError
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.model.recurrent_state import RecurrentState, previous_tokens
from camoe.model.routing_trace import BlockInput, RoutingTrace
from camoe.model.rwkv_export import official_rwkv_weights
from camoe.model.rwkv_weights import load_rwkv_weights
from camoe.model.skip_connections import hears_earlier, keeps_output
from camoe.routing.election_terms import NO_EXPERIMENT
from camoe.routing.router import RoutingContext
from camoe.training.objectives import Batch, compute_losses
from camoe.training.optimizers import decays
from camoe.training.self_check import self_check
from tests.small_run import small_run

L, T = 5, 11
OPTIONS = (("skip_connections",), ("residual_scales",), ("skip_connections", "residual_scales"))


def _fresh(*options: str, **groups: Any) -> LanguageModel:
    model = {"n_layer": L, "dynamics": "pid", **dict.fromkeys(options, True), **groups.pop("model", {})}
    return LanguageModel(small_run("off", model=model, router={"kind": "topk", "top_k": 2}, **groups))


def _model(*options: str, **groups: Any) -> LanguageModel:
    """With every weight moved from where it starts."""
    model, generator = _fresh(*options, **groups), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def _batch() -> Batch:
    tokens = torch.randint(1, 256, (2, T + 1), generator=torch.Generator().manual_seed(2))
    return Batch(tokens[:, :-1], tokens[:, 1:])


def _norm(part: nn.Module, x: Tensor) -> Tensor:
    if isinstance(part, nn.LayerNorm):
        return part(x)
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()


def _literal(model: LanguageModel, tokens: Tensor) -> Tensor:
    """Logits as the formulas have them: a list of outputs, popped from its end, and scales where there are any."""
    context = RoutingContext(tokens, torch.arange(T).expand(2, T), None, None, NO_EXPERIMENT.of_layer(0))
    x = first = _norm(model.ln0, model.emb(tokens))
    v_first = velocity = None
    outputs: list[Tensor] = []
    for layer, block in enumerate(model.blocks):
        of = dict(block.named_parameters())
        if layer >= L // 2 and outputs:
            x = x + of["skip.scale"] * outputs.pop()
        if "residual.stream" in of:
            x = of["residual.stream"] * x + of["residual.first"] * first
        mixed = block.att(_norm(block.ln1, x), v_first)
        x, v_first = x + of.get("residual.mixing", 1) * mixed.out, mixed.v_first
        x, velocity = block.dynamics(x, velocity)
        h = _norm(block.ln2, x)
        out, _ = block.mixture(h, previous_tokens(h, None), mixed.readout, None, context)
        x = x + of.get("residual.experts", 1) * out
        if layer < L // 2 and "skip.scale" in dict(model.blocks[-2].named_parameters()):
            outputs.append(x)
    scale = 1 if "residual.stream" in of else model.config.model.n_embd**-0.5
    return scale * _norm(model.ln_out, x) @ model.emb.weight.T


@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_are_those_of_the_formulas(options: tuple[str, ...]) -> None:
    mix = {"rwkv_ffn": 4, "transformer_prefix": 0}
    model, tokens = _model(*options, experts=mix).double(), _batch().inputs
    parameters, results = list(model.parameters()), []
    for logits in (model(tokens)[0], _literal(model, tokens)):
        weight = torch.arange(logits.numel(), dtype=torch.float64).view(logits.shape).sin()
        gradients = torch.autograd.grad((logits * weight).sum(), parameters, allow_unused=True)
        results.append((logits, *(gradient for gradient in gradients if gradient is not None)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("n_layer", "pairs"), [(1, []), (2, [(0, 1)]), (9, [(3, 4), (2, 5), (1, 6), (0, 7)]), (4, [(1, 2), (0, 3)])]
)
def test_the_last_kept_is_the_first_taken(n_layer: int, pairs: list[tuple[int, int]]) -> None:
    kept: list[int] = []
    found = []
    for layer in range(n_layer):
        if hears_earlier(layer, n_layer):
            found.append((kept.pop(), layer))
        if keeps_output(layer, n_layer):
            kept.append(layer)
    assert (found, kept) == (pairs, [])


@pytest.mark.parametrize("pieces", [[1] * T, [5, 1, 5]])
@torch.no_grad()
def test_any_chunking_equals_the_full_pass(pieces: list[int]) -> None:
    model, tokens = _model(*OPTIONS[-1]).eval(), _batch().inputs
    full, _ = model(tokens)
    state: RecurrentState | None = None
    parts = []
    for piece in tokens.split(pieces, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    assert float((torch.cat(parts, 1) - full).abs().max()) < 1e-5 * max(1.0, float(full.abs().max()))


def test_recomputed_blocks_give_the_same_gradients_and_every_scale_learns() -> None:
    gradients = []
    for recompute in ("none", "block"):
        model = _model(*OPTIONS[-1], train={"recompute": recompute})
        compute_losses(model, _batch()).total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    kept, again = gradients
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    scales = [name for name in kept if ".skip." in name or ".residual." in name]
    assert len(scales) == L // 2 + 4 * L
    assert all(float(kept[name].norm()) > 0 for name in scales)


def test_a_run_that_resumes_at_a_layer_takes_what_was_kept_along() -> None:
    model, batch = _model(*OPTIONS[-1]), _batch()
    trace = RoutingTrace(audited_layer=2)
    hidden, _ = model.hidden(batch.inputs, trace=trace)
    entry, rows = trace.audited_input, torch.tensor([1])
    assert entry is not None
    assert len(entry.stream.kept) == L // 2
    again, _ = model.hidden(batch.inputs[rows], resume_at=entry.of_rows(rows))
    torch.testing.assert_close(again, hidden[rows], rtol=1e-5, atol=1e-5)
    swapped = BlockInput(2, entry.stream._replace(kept=entry.stream.kept[::-1])).of_rows(rows)
    assert not torch.allclose(model.hidden(batch.inputs[rows], resume_at=swapped)[0], hidden[rows], rtol=1e-3)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_fresh_model_knows_nothing_and_passes_the_self_check(options: tuple[str, ...]) -> None:
    model = _fresh(*options)
    assert float(compute_losses(model, _batch()).token_loss.mean()) == pytest.approx(math.log(256), rel=0.05)
    assert self_check(model, _batch())


def test_scales_are_vectors_of_the_backbone_which_do_not_decay() -> None:
    scales = {n: p for n, p in _fresh(*OPTIONS[-1]).named_parameters() if ".skip." in n or ".residual." in n}
    assert not [name for name, parameter in scales.items() if decays(name, parameter) or parameter.dim() != 1]
    assert scales.keys() <= parameter_groups(_fresh(*OPTIONS[-1]))["rwkv_backbone"].keys()


def test_without_the_options_a_model_has_no_parameter_of_them() -> None:
    names = [name for name, _ in _fresh().named_parameters()]
    assert not [name for name in names if ".skip." in name or ".residual." in name]
    assert "blocks.0.ln1.weight" in names


@pytest.mark.parametrize("option", ["skip_connections", "residual_scales"])
def test_an_rwkv_has_none_of_them(option: str) -> None:
    mix = {"rwkv_ffn": 1, "transformer_prefix": 0}
    run = small_run("off", model={option: True, "n_layer": 2}, experts=mix, router={"kind": "topk", "top_k": 1})
    with pytest.raises(ConfigError, match=r"(skip\.scale|residual\.stream) has no official name$"):
        official_rwkv_weights(LanguageModel(run))


def test_norms_without_weights_say_so_to_the_weights_of_an_rwkv() -> None:
    with pytest.raises(ConfigError, match=r"the model's norms have no weights; set model\.residual_scales=false$"):
        load_rwkv_weights(_fresh("residual_scales"), {"blocks.0.ln1.weight": torch.ones(32)})
