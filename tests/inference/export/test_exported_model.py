"""A model written and read back: exact where it should be, near where it may be, nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from camoe.config import ConfigError
from camoe.config.export import FORMATS, ExportFormat
from camoe.config.phase import PARAMETER_GROUPS
from camoe.data.byte_tokenizer import ByteTokenizer
from camoe.inference.export.exported_model import Origin, Packed, load_export, pack_model, read_export
from camoe.inference.export.size_report import class_sizes, refuse_too_large
from camoe.inference.export.storage_plan import CLASS_OF_GROUP
from camoe.model.language_model import LanguageModel
from tests.small_run import small_run

ORIGIN = Origin(7, "averaged", "text", ByteTokenizer())
EXACT = ExportFormat(embedding_head="fp32", backbone="fp32", experts="fp32", router="fp32", vectors="fp32")
TOKENS = torch.randint(1, 256, (2, 12), generator=torch.Generator().manual_seed(0))


def _model(kind: str = "v21", **model: Any) -> LanguageModel:
    """All parameters away from zero, a market that has moved."""
    made = LanguageModel(small_run(kind, model=model))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for buffer in made.buffers():
            if buffer.is_floating_point():
                buffer.mul_(1 + torch.rand(buffer.shape, generator=generator))
    made.market.bidding = False
    return made


def _pack(model: LanguageModel, formats: ExportFormat, folder: Path) -> tuple[Packed, Path]:
    packed, path = pack_model(model, ORIGIN, formats, 3), folder / "export.camoe"
    path.write_bytes(packed.container.content)
    return packed, path


@torch.no_grad()
def _logits(model: LanguageModel) -> torch.Tensor:
    return model(TOKENS)[0]


@pytest.mark.parametrize("kind", ["v21", "calibrated", "off"])
@pytest.mark.parametrize("tied", [True, False])
def test_at_full_width_every_bit_comes_back(kind: str, tied: bool, tmp_path: Path) -> None:
    model = _model(kind, tie_embeddings=tied, deep_embed_attention=True)
    _, path = _pack(model, EXACT, tmp_path)
    again = load_export(path)
    assert again.config == model.config
    assert not again.market.bidding
    for name, value in model.state_dict().items():
        other = again.state_dict()[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name
    assert torch.equal(_logits(again), _logits(model))


@pytest.mark.parametrize("bits", [8, 6, 5, 4])
def test_few_bits_are_near_and_fewer_bits_are_smaller(bits: int, tmp_path: Path) -> None:
    model, chosen = _model(), f"int{bits}"
    formats = ExportFormat(embedding_head=chosen, backbone=chosen, experts=chosen, router=chosen)
    packed, path = _pack(model, formats, tmp_path)
    again = load_export(path)
    for name, parameter in model.named_parameters():
        error = (again.get_parameter(name) - parameter).norm() / parameter.norm()
        assert error < 1.3 / 2 ** (bits - 1), name
    assert torch.equal(again.market.state.capital, model.market.state.capital)
    sizes = class_sizes(packed)
    assert sum(size.bytes for size in sizes.values()) == path.stat().st_size
    assert sizes["experts"].numbers == chosen
    for room in ("embedding_head", "backbone", "experts", "router"):
        assert bits < 8 * sizes[room].packed / sizes[room].weights < bits + 2, room
        assert sizes[room].bytes < 1.01 * sizes[room].packed + 20, room
    assert sum(size.weights for size in sizes.values()) == sum(
        value.numel() for value in model.state_dict().values() if isinstance(value, torch.Tensor)
    )


def test_tied_embeddings_are_stored_once(tmp_path: Path) -> None:
    tied, _ = _pack(_model(tie_embeddings=True), ExportFormat(), tmp_path)
    own, _ = _pack(_model(tie_embeddings=False), ExportFormat(), tmp_path)
    names = [stored.name for stored in tied.tensors]
    assert len(names) == len(set(names))
    assert {stored.name for stored in own.tensors} - set(names) == {"head.weight"}
    ratio = class_sizes(own)["embedding_head"].packed / class_sizes(tied)["embedding_head"].packed
    assert ratio == 2


def test_what_the_file_tells_of_its_origin(tmp_path: Path) -> None:
    _, path = _pack(_model(), ExportFormat(), tmp_path)
    origin = read_export(path).origin
    assert (origin.step, origin.weights, origin.text) == (7, "averaged", "text")
    assert origin.tokenizer.fingerprint == ORIGIN.tokenizer.fingerprint


def test_every_group_of_parameters_has_a_class_with_a_format() -> None:
    assert set(CLASS_OF_GROUP) == set(PARAMETER_GROUPS)
    assert {getattr(ExportFormat(), room) for room in CLASS_OF_GROUP.values()} <= set(FORMATS)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.blocks[1].ln1.weight[3] = torch.nan  # type: ignore[union-attr,index]
    with pytest.raises(ConfigError, match=r"blocks\.1\.ln1\.weight holds values that are not finite"):
        _pack(model, ExportFormat(), tmp_path)


@pytest.mark.parametrize("magnitude", [1e-9, 1e6])
def test_a_vector_outside_of_half_precision_keeps_full_width(magnitude: float, tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.ln_out.bias.mul_(magnitude)
    packed, path = _pack(model, ExportFormat(), tmp_path)
    assert torch.equal(load_export(path).ln_out.bias, model.ln_out.bias)
    assert class_sizes(packed)["vectors"].numbers == "float16+float32"


def test_a_cap_is_kept_to_the_byte(tmp_path: Path) -> None:
    packed, path = _pack(_model(), ExportFormat(), tmp_path)
    sizes, whole = class_sizes(packed), path.stat().st_size
    refuse_too_large(sizes, whole)
    biggest = max(sizes, key=lambda name: sizes[name].bytes)
    with pytest.raises(ConfigError, match=f"are 1 more than the {whole - 1:,} allowed; the biggest class is {biggest}"):
        refuse_too_large(sizes, whole - 1)
