"""A text and the model's state after it in one file, so that another process goes on without reading it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from camoe.config import ConfigError
from camoe.config.refusal import refused_as
from camoe.inference.continuation import TextState
from camoe.model.language_model import LanguageModel
from camoe.model.state_tensors import state_of, state_tensors
from camoe.model.weights_hash import weights_hash
from camoe.tracking.atomic_file import write_bytes

FORMAT = "camoe text state 1"


def save_text(path: Path, text: TextState, model: LanguageModel) -> None:
    """Write the text's tokens, those not read yet included, and its state."""
    tensors = {} if text.state is None else state_tensors(text.state)
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    tensors["tokens"] = torch.tensor(text.tokens, dtype=torch.int64)
    made_by = {"architecture": _architecture(model), "weights": json.dumps(weights_hash(model))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, save(tensors, {"format": FORMAT, "unread": str(text.unread), **made_by}))


def load_text(path: Path, model: LanguageModel, what: str) -> TextState:
    """The text of a file; ConfigError, which begins with `what`, for another model's or anything else."""
    if not path.is_file():
        raise ConfigError(f"{what}: no file {path}")
    with refused_as(f"{what}: {path} is no file of job.save_state"):
        about, tensors = _content(path, str(model.device))
        made_by = [about[name] for name in ("architecture", "weights")]
    if made_by[0] != _architecture(model):
        raise ConfigError(f"{what}: {path} holds the state of a model of another architecture")
    if made_by[1] != json.dumps(weights_hash(model)):
        raise ConfigError(f"{what}: {path} holds the state of other weights of this architecture")
    with refused_as(f"{what}: {path} is no whole file of job.save_state"):
        tokens, unread = tensors.pop("tokens"), int(about["unread"])
        if tokens.dtype != torch.int64 or tokens.dim() != 1 or not 0 <= unread <= len(tokens):
            raise ValueError("its tokens do not fit")
        if not all(0 <= token < len(model.emb.weight) for token in tokens.tolist()):
            raise ValueError("it has tokens outside of the vocabulary")
        return TextState(tokens.tolist(), state_of(tensors) if tensors else None, unread)


def _content(path: Path, device: str) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """What the file says of itself, and its tensors."""
    with safe_open(path, "pt", device=device) as file:
        about = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if about.get("format") != FORMAT:
        raise ValueError(f"its format is {about.get('format')!r}")
    return about, tensors


def _architecture(model: LanguageModel) -> str:
    """What a state's shapes and meaning come from."""
    config = model.config
    parts = [asdict(part) for part in (config.model, config.experts, config.router, config.tokenizer)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
