"""One tensor of an exported file: how it is called and shaped, and how its numbers become bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from camoe.inference.export.code_packing import pack_codes, packed_size, unpack_codes, widths_of
from camoe.inference.export.quantization import QuantizedRows, quantize_rows


@dataclass(frozen=True)
class StoredTensor:
    """numbers: torch's name of a dtype, or int8, int6, ... with `bits`: the codes of all rows, then their scales.

    A row is what runs along the last axis, so every expert of a stacked [E,O,I] has its own O scales.
    """

    name: str
    room: str
    shape: tuple[int, ...]
    numbers: str
    bits: int | None = None

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    def n_bytes(self, layout: str) -> int:
        """Bytes in a layout of the codes: 'packed' or 'bytes'."""
        if self.bits is None:
            return self.count * self._dtype.itemsize
        return packed_size(self.count, widths_of(self.bits, layout)) + 2 * self._rows

    def rounded(self, tensor: Tensor) -> Tensor | QuantizedRows:
        """What is kept of a tensor of this shape."""
        if self.bits is None:
            return tensor.to(self._dtype)
        return quantize_rows(tensor.reshape(self._rows, -1), self.bits)

    def encoded(self, kept: Tensor | QuantizedRows, layout: str) -> bytes:
        """The bytes of what is kept."""
        if self.bits is None or isinstance(kept, Tensor):
            assert isinstance(kept, Tensor)
            return _raw(kept)
        codes = kept.codes.flatten().numpy()
        return pack_codes(codes, self.bits, widths_of(self.bits, layout)) + _raw(kept.scales)

    def decoded(self, content: bytes, layout: str) -> Tensor:
        """The tensor of `encoded`'s bytes; quantised ones as float32."""
        if self.bits is None:
            return torch.frombuffer(bytearray(content), dtype=self._dtype).reshape(self.shape)
        codes = unpack_codes(content, self.count, self.bits, widths_of(self.bits, layout))
        scales = torch.frombuffer(bytearray(content[-2 * self._rows :]), dtype=torch.bfloat16)
        return QuantizedRows(torch.from_numpy(codes).view(self._rows, -1), scales).weights().view(self.shape)

    @property
    def _rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self.numbers)


def _raw(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
