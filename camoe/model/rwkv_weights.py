"""Starting from official RWKV-7 weights: the backbone is copied, every RWKV expert receives the channel mix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError  # only the name: nothing is unpickled here

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from camoe.config.refusal import ConfigError
from camoe.model.experts.rwkv_ffn import RwkvFeedForward
from camoe.model.language_model import LanguageModel


@dataclass
class ImportSummary:
    """What became of the file's tensors and of the model's parameters."""

    consumed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    left_as_initialised: list[str] = field(default_factory=list)


def read_rwkv_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pth file; nothing in it is executed."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file of RWKV weights") from None
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise ConfigError(
            f"{path}: not a readable .safetensors or .pth file of tensors ({type(error).__name__})"
        ) from error


@torch.no_grad()
def load_rwkv_weights(
    model: LanguageModel, weights: Mapping[str, Tensor], *, noise_std: float = 0.0, seed: int = 0
) -> ImportSummary:
    """Copy official RWKV-7 weights (blocks.i.att.*, blocks.i.ffn.*, emb, ln0, ln_out, head) into a CaMoE.

    Each RWKV expert receives ffn.* plus N(0, noise_std) of its own. With zero noise and only RWKV experts the model
    gives the RWKV's logits, whatever the router elects. A shape that does not fit is a ConfigError with both sizes.
    """
    summary = ImportSummary()
    own = dict(model.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in weights.items():
        targets = _targets(model, name)
        if not targets or any(target not in own for target in targets):
            summary.ignored.append(name)
            continue
        for target in targets:
            noise = noise_std if ".experts." in target else 0.0
            _copy(own[target], tensor, name, noise, generator)
        summary.consumed.append(name)
    filled = {target for name in summary.consumed for target in _targets(model, name)}
    summary.left_as_initialised = sorted(own.keys() - filled)
    return summary


def _targets(model: LanguageModel, name: str) -> list[str]:
    """The parameters that one official tensor fills."""
    if name.startswith("blocks.0.ln0."):
        return [name.removeprefix("blocks.0.")]
    channel_mix = re.fullmatch(r"blocks\.(\d+)\.ffn\.(.+)", name)
    if channel_mix is None:
        return [name]
    layer, entry = channel_mix.groups()
    if int(layer) >= len(model.blocks):
        return []
    experts = model.blocks[int(layer)].mixture.expert_list()  # type: ignore[operator, union-attr]
    return [
        f"blocks.{layer}.mixture.experts.{index}.{entry}"
        for index, expert in enumerate(experts)
        if isinstance(expert, RwkvFeedForward)
    ]


def _copy(parameter: Tensor, tensor: Tensor, name: str, noise_std: float, generator: torch.Generator) -> None:
    """Official files store some vectors with other leading ones ([C] or [1,1,C]); the numbers are the same."""
    squeezed = [size for size in tensor.shape if size > 1], [size for size in parameter.shape if size > 1]
    if squeezed[0] != squeezed[1]:
        raise ConfigError(f"{name}: the file has {list(tensor.shape)}, the model needs {list(parameter.shape)}")
    values = tensor.reshape(parameter.shape).float()
    if noise_std:
        values = values + noise_std * torch.randn(values.shape, generator=generator)
    parameter.copy_(values)
