"""Writing a model that is an RWKV-7 in all but form under the official names of RWKV-7 weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from camoe.config.economy import EconomyConfig
from camoe.config.experts import ExpertsConfig
from camoe.config.refusal import ConfigError
from camoe.config.router import RouterConfig
from camoe.config.run import RunConfig
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.language_model import LanguageModel
from camoe.model.mixture import Mixture
from camoe.model.rwkv_weights import load_rwkv_weights

TOLERANCE = 1e-4  # of the largest logit: rounding in float32 stays below it, a weight that is not 1 does not
_BACKBONE = re.compile(r"(blocks\.\d+\.(att|ln1|ln2)|emb|ln_out|head)\.\S+")
_MIXTURE = re.compile(r"blocks\.\d+\.mixture\.\S+")


@torch.no_grad()
def official_rwkv_weights(model: LanguageModel) -> dict[str, Tensor]:
    """The model's weights as blocks.i.att.*, blocks.i.ffn.*, emb, ln0, ln_out and head; router and critic are left out.

    A tied embedding becomes a head of its own, scaled as the model scales its logits. ConfigError for a model that has
    what RWKV-7 has not, or whose experts of a layer are not all the same channel mix.
    """
    if model.config.model.attention_layers:
        raise _refused(f"layer {model.config.model.attention_layers[0]} has attention (model.layers)")
    weights = {}
    for layer, block in enumerate(model.blocks):
        ffn = _channel_mix(layer, block.mixture)  # type: ignore[arg-type]
        weights.update({f"blocks.{layer}.ffn.{name}": value.detach().clone() for name, value in ffn.items()})
    for name, parameter in model.named_parameters():
        if name.startswith("ln0."):
            weights[f"blocks.0.{name}"] = parameter.detach().clone()
        elif _BACKBONE.fullmatch(name):
            weights[name] = parameter.detach().clone()
        elif not _MIXTURE.fullmatch(name):
            raise _refused(f"{name} has no official name")
    if model.head is None:
        weights["head.weight"] = model.emb.weight.detach() * model.emb.embedding_dim**-0.5
    return weights


def _channel_mix(layer: int, mixture: Mixture) -> Mapping[str, Tensor]:
    """What every expert of a layer holds; ConfigError where they are of another kind or differ."""
    if len(mixture.shared):
        raise _refused(f"layer {layer} has shared experts (experts.shared)")
    experts = list(mixture.experts)
    for index, expert in enumerate(experts):
        if not isinstance(expert, RwkvFeedForward):
            raise _refused(f"expert {index} of layer {layer} is a {expert.kind}")
        if expert.x_k is None:
            raise _refused("its RWKV experts have no token shift (experts.token_shift)")
    first, *others = (dict(expert.named_parameters()) for expert in experts)
    for index, other in enumerate(others, 1):
        if not all(torch.equal(value, other[name]) for name, value in first.items()):
            raise _refused(f"experts 0 and {index} of layer {layer} differ; one or equal experts are needed")
    return first


@torch.no_grad()
def largest_difference(model: LanguageModel, weights: dict[str, Tensor], tokens: Tensor) -> float:
    """By how much the logits of `tokens` [B,T] differ between the model and an RWKV of these weights, at most.

    More than rounding means that the mixture weighs its experts to another sum than 1: a ConfigError.
    """
    plain = LanguageModel(as_plain_rwkv(model.config)).to(tokens.device)
    load_rwkv_weights(plain, weights)
    own, again = model(tokens)[0].float(), plain(tokens)[0].float()
    difference = float((own - again).abs().max())
    if not difference <= TOLERANCE * float(own.abs().max()):
        raise _refused(
            f"as plain RWKV its logits would move by {difference:.3g}: weights of a token's winners do not sum to 1 "
            f"(router.kind={model.config.router.kind}, router.top_k={model.config.router.top_k})"
        )
    return difference


def as_plain_rwkv(config: RunConfig) -> RunConfig:
    """The same configuration with one RWKV expert for a mixture, without economy, and with a head of its own."""
    return replace(
        config,
        model=replace(config.model, tie_embeddings=False),
        experts=ExpertsConfig(
            rwkv_ffn=1, transformer_prefix=0, hidden=config.experts.hidden, hidden_ratio=config.experts.hidden_ratio
        ),
        router=RouterConfig(top_k=1),
        economy=EconomyConfig(),
    )


def _refused(why: str) -> ConfigError:
    return ConfigError(f"job.run: not to be written as RWKV-7 weights: {why}")
