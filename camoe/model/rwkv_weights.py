"""Starting from official RWKV-7 weights: the backbone is copied, every RWKV expert receives the channel mix."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from camoe.config.refusal import ConfigError
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.language_model import LanguageModel

OF_THE_VOCABULARY = ("emb.weight", "head.weight")  # the first to be compared: most misfits are of their sizes
_CHANNEL_MIX = re.compile(r"blocks\.(\d+)\.ffn\.(.+)")


@dataclass(frozen=True)
class ImportSummary:
    """What became of the file's tensors (consumed, ignored by design) and of the model's other parameters."""

    consumed: list[str]
    ignored: list[str]
    left_as_initialised: list[str]


def read_rwkv_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pth file; nothing in it is executed."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: no file; RWKV weights are a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # of other pickles, which are refused
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file of RWKV weights") from None
    except Exception as error:  # a damaged file makes its reader raise anything
        raise ConfigError(
            f"{path}: not a readable .safetensors or .pth file of tensors ({type(error).__name__})"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ConfigError(f"{path}: not one dictionary of tensors by name, as RWKV weights are")
    return tensors


@torch.no_grad()
def load_rwkv_weights(
    model: LanguageModel, weights: Mapping[str, Tensor], *, noise_std: float = 0.0, seed: int = 0
) -> ImportSummary:
    """Copy official RWKV-7 weights (blocks.i.att.*, blocks.i.ffn.*, emb, ln0, ln_out, head) into a CaMoE.

    Each RWKV expert receives ffn.* plus N(0, noise_std) of its own. With zero noise, only RWKV experts (token shift on)
    and mixture weights that sum to 1 the model gives the RWKV's logits, whatever the router elects; a single winner
    among several experts (top_k 1) is weighed by its probability instead, which scales its output down.

    A layer with attention has no TimeMix to receive blocks.i.att.*: its attention keeps its initial values, with which
    it adds nothing, so the model goes on from the RWKV without that layer's time mixing.

    A tensor of another size and one that finds no place are ConfigErrors, raised before anything is copied.
    """
    own = dict(model.named_parameters())
    targets = {name: [target for target in _targets(model, name) if target in own] for name in weights}
    _check_depth(weights, len(model.blocks))
    for name, filled in sorted(targets.items(), key=lambda target: target[0] not in OF_THE_VOCABULARY):
        if not filled and not _done_without(model, name):
            raise ConfigError(f"{name} {list(weights[name].shape)}: {_no_place(name)}")
        for target in filled:
            _check_size(name, weights[name], own[target])
        if filled and not weights[name].isfinite().all():
            raise ConfigError(f"{name}: the file holds numbers that are not finite")
    if not any(targets.values()):
        raise ConfigError("holds no tensor of an RWKV-7, such as emb.weight")
    generator = torch.Generator().manual_seed(seed)
    for name, filled in targets.items():
        for target in filled:
            _copy(own[target], weights[name], noise_std if ".experts." in target else 0.0, generator)
    return ImportSummary(
        consumed=[name for name, filled in targets.items() if filled],
        ignored=[name for name, filled in targets.items() if not filled],
        left_as_initialised=sorted(own.keys() - {target for filled in targets.values() for target in filled}),
    )


def _targets(model: LanguageModel, name: str) -> list[str]:
    """The names under which a model may have what one official tensor holds."""
    if name.startswith("blocks.0.ln0."):
        return [name.removeprefix("blocks.0.")]
    if channel_mix := _CHANNEL_MIX.fullmatch(name):
        layer, entry = channel_mix.groups()
        return [f"{expert}.{entry}" for expert in _rwkv_experts(model, int(layer))]
    return [name]


def _rwkv_experts(model: LanguageModel, layer: int) -> dict[str, RwkvFeedForward]:
    prefix = f"blocks.{layer}.mixture.experts."
    modules = model.named_modules()
    return {name: part for name, part in modules if name.startswith(prefix) and isinstance(part, RwkvFeedForward)}


def _done_without(model: LanguageModel, name: str) -> bool:
    """Whether this model leaves an official tensor out by design.

    The first TimeMix has no value residual (files may hold an unused one), layers with attention have no TimeMix, a mix
    may have no RWKV experts, and those without token shift have no x_k.
    """
    time_mix = re.fullmatch(r"blocks\.(\d+)\.att\.(\w+).*", name)
    if time_mix is not None:
        layer, rwkv_layers = int(time_mix[1]), model.config.model.rwkv_layers
        return layer not in rwkv_layers or (layer == rwkv_layers[0] and time_mix[2] in ("v0", "v1", "v2"))
    channel_mix = _CHANNEL_MIX.fullmatch(name)
    if channel_mix is None:
        return False
    experts = _rwkv_experts(model, int(channel_mix[1])).values()
    return not experts or (channel_mix[2] == "x_k" and all(expert.x_k is None for expert in experts))


def _check_depth(weights: Mapping[str, Tensor], n_layer: int) -> None:
    layers = [int(block[1]) for block in (re.match(r"blocks\.(\d+)\.", name) for name in weights) if block]
    if layers and max(layers) >= n_layer:
        raise ConfigError(f"model.n_layer: the file has {max(layers) + 1} layers, the model {n_layer}")


def _no_place(name: str) -> str:
    if name.startswith("head."):
        return "the model has no head of its own; set model.tie_embeddings=false"
    if ".ln" in name or name.startswith("ln_"):
        return "the model's norms have no weights; set model.residual_scales=false"
    return "finds no place in the model, which takes RWKV-7 (x070) weights"


def _check_size(name: str, tensor: Tensor, parameter: Tensor) -> None:
    """Official files store some vectors with other leading ones ([C] or [1,1,C]); the numbers are the same."""
    if [size for size in tensor.shape if size > 1] != [size for size in parameter.shape if size > 1]:
        meaning = " (tokenizer.vocab_size, model.n_embd)" if name in OF_THE_VOCABULARY else ""
        raise ConfigError(
            f"{name}: the file has {list(tensor.shape)}, the model needs {list(parameter.shape)}{meaning}"
        )


def _copy(parameter: Tensor, tensor: Tensor, noise_std: float, generator: torch.Generator) -> None:
    values = tensor.reshape(parameter.shape).float()
    if noise_std:
        values = values + noise_std * torch.randn(values.shape, generator=generator)
    parameter.copy_(values)
