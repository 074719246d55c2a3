"""Where the bytes of an exported file go, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from camoe.config import ConfigError
from camoe.inference.export.exported_model import Packed
from camoe.inference.export.storage_plan import CLASSES
from camoe.tracking.bars import bar

BAR, COLOUR = 12, "#3fa66a"
REST = "index"  # configuration, tokenizer, names


@dataclass(frozen=True)
class ScoredFile:
    """numbers: of its matrices. bytes: of the whole. bits_per_byte: of held-out text under what it holds."""

    numbers: str
    bytes: int
    bits_per_byte: float


@dataclass(frozen=True)
class ClassSize:
    """One class of tensors. numbers: how they are stored. packed: bytes of the bits alone. bytes: in the file."""

    numbers: str
    tensors: int
    weights: int
    packed: int
    bytes: int


def class_sizes(packed: Packed) -> dict[str, ClassSize]:
    """Every class that the model has, and what the file holds besides."""
    sizes = {}
    for room in CLASSES:
        tensors = [stored for stored in packed.tensors if stored.room == room]
        if tensors:
            sizes[room] = ClassSize(
                numbers="+".join(sorted({stored.numbers for stored in tensors})) if room != "state" else "exact",
                tensors=len(tensors),
                weights=sum(stored.count for stored in tensors),
                packed=sum(stored.n_bytes("packed") for stored in tensors),
                bytes=packed.container.sections[room],
            )
    rest = packed.container.rest
    return {**sizes, REST: ClassSize("", 0, 0, rest, rest)}


def refuse_too_large(sizes: Mapping[str, ClassSize], max_bytes: int) -> None:
    """ConfigError that says by how much a file exceeds its cap, and which class takes the most of it."""
    whole = sum(size.bytes for size in sizes.values())
    if whole > max_bytes:
        name, size = max(sizes.items(), key=lambda entry: entry[1].bytes)
        raise ConfigError(
            f"job.max_bytes: {whole:,} bytes are {whole - max_bytes:,} more than the {max_bytes:,} allowed; "
            f"the biggest class is {name} ({size.numbers}) with {size.bytes:,}; nothing was written"
        )


def size_table(sizes: Mapping[str, ClassSize]) -> RenderableType:
    """The classes and their sum as a person reads them."""
    table = Table.grid(padding=(0, 2))
    headers = ("class", "numbers", "weights", "packed", "bytes", "bits", "")
    for header in headers:
        table.add_column(justify="left" if header in ("class", "numbers", "") else "right", no_wrap=True)
    table.add_row(*(Text(header, style="grey58") for header in headers))
    whole = sum(size.bytes for size in sizes.values())
    for name, size in sizes.items():
        table.add_row(name, *_columns(size), bar(size.bytes / whole, BAR, COLOUR))
    parts = [astuple(size)[1:] for size in sizes.values()]
    table.add_row("total", *_columns(ClassSize("", *map(sum, zip(*parts, strict=True)))), style="bold")
    return table


def format_table(files: Sequence[ScoredFile]) -> RenderableType:
    """A row for each."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    for _ in range(2):
        table.add_column(justify="right")
    table.add_row(*(Text(header, style="grey58") for header in ("all matrices", "bytes", "bits per byte")))
    for file in files:
        table.add_row(file.numbers, f"{file.bytes:,}", f"{file.bits_per_byte:.4f}")
    return table


def _columns(size: ClassSize) -> list[str]:
    """Without the tensors; bits: of the file, for one weight."""
    if not size.weights:
        return [size.numbers, "", "", f"{size.bytes:,}", ""]
    counts = (size.weights, size.packed, size.bytes)
    return [size.numbers, *(f"{count:,}" for count in counts), f"{8 * size.bytes / size.weights:.2f}"]
