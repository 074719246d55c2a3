"""From a trained model to the contents of an exported file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from camoe.config import RunConfig
from camoe.config.export import ExportFormat
from camoe.config.refusal import refused_as
from camoe.config.saved import saved_run
from camoe.data.tokenizer import Tokenizer
from camoe.data.tokenizer_store import from_json
from camoe.inference.export.container import Container, Section, build_container, read_container
from camoe.inference.export.quantization import QuantizedRows
from camoe.inference.export.storage_plan import CLASSES, storage_plan
from camoe.inference.export.stored_tensor import StoredTensor
from camoe.model.language_model import LanguageModel


@dataclass(frozen=True)
class Origin:
    """Where a model comes from. step: optimiser steps done. weights: raw or averaged. text: its fingerprint."""

    step: int
    weights: str
    text: str
    tokenizer: Tokenizer


class Packed(NamedTuple):
    """A file in memory, and the tensors in it."""

    container: Container
    tensors: list[StoredTensor]


@dataclass(frozen=True)
class ModelWithOrigin:
    """All that is needed to build a trained model again and ask it; `state` is what it loads."""

    config: RunConfig
    origin: Origin
    state: dict[str, Any]

    def model(self) -> LanguageModel:
        """On the CPU."""
        model = LanguageModel(self.config)
        model.load_state_dict(self.state)
        return model


def pack_model(model: LanguageModel, origin: Origin, formats: ExportFormat, level: int) -> Packed:
    """A model as one file, compressed at a level of zstd: each class of tensors is a section, in the model's order."""
    state = model.state_dict()
    tensors = {name: value.detach().cpu() for name, value in state.items() if isinstance(value, Tensor)}
    plan = storage_plan(model, tensors, formats)
    index = {
        "config": asdict(model.config),
        "step": origin.step,
        "weights": origin.weights,
        "text": origin.text,
        "tokenizer": origin.tokenizer.to_json(),
        "values": {name: value for name, value in state.items() if name not in tensors},
        "tensors": [asdict(stored) for stored in plan],
    }
    kept = {stored: stored.rounded(tensors[stored.name]) for stored in plan}
    sections = {
        room: [Section(layout, _encoded(kept, room, layout)) for layout in ("packed", "bytes")] for room in CLASSES
    }
    return Packed(build_container(index, sections, level), plan)


def _encoded(kept: Mapping[StoredTensor, Tensor | QuantizedRows], room: str, layout: str) -> bytes:
    return b"".join(stored.encoded(value, layout) for stored, value in kept.items() if stored.room == room)


def read_export(path: Path) -> ModelWithOrigin:
    """Everything in an exported file; ConfigError for any other file."""
    with refused_as(f"{path}: not a whole file of job=export"):
        index, sections = read_container(path)
        tensors = [StoredTensor(**{**entry, "shape": tuple(entry["shape"])}) for entry in index["tensors"]]
        config = saved_run(index["config"], str(path))
        origin = Origin(index["step"], index["weights"], index["text"], from_json(index["tokenizer"]))
        return ModelWithOrigin(config, origin, {**_decoded(tensors, sections), **index["values"]})


def load_export(path: Path) -> LanguageModel:
    """The model of an exported file, on the CPU."""
    return read_export(path).model()


def _decoded(tensors: list[StoredTensor], sections: Mapping[str, Section]) -> dict[str, Tensor]:
    places = dict.fromkeys(sections, 0)
    state = {}
    for stored in tensors:
        layout, content = sections[stored.room]
        begin = places[stored.room]
        places[stored.room] = begin + stored.n_bytes(layout)
        state[stored.name] = stored.decoded(content[begin : places[stored.room]], layout)
    return state
