"""The one interface of an expert: it turns the hidden vectors of the tokens it serves into outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from camoe.kernels.grouped_products import RowGroups
from camoe.model.prefix_map import PrefixMap


@dataclass(frozen=True)
class ExpertContext:
    """What an expert may know about the n tokens it serves, beside their hidden vectors.

    previous: [n,C] hidden vectors of the tokens before them in the sequence (zero at a start without state); None where
    the hidden vectors were moved towards them already, by the expert's `token_shift`.
    low: [n,P,r] low-rank rows made from the RWKV state by the bridge. prefix_map: how they become the prefix, shared by
    all tokens. Both None for an expert that does not attend to it.
    """

    previous: Tensor | None
    low: Tensor | None = None
    prefix_map: PrefixMap | None = None


class Expert(nn.Module, ABC):
    """Maps h [n,C] to [n,C], token by token; knows its size and cost. `kind` is its name in the group `experts`."""

    kind: str
    needs_prefix: bool = False

    @abstractmethod
    def forward(self, h: Tensor, context: ExpertContext) -> Tensor:
        """Outputs [n,C] for the n tokens served."""

    @property
    def token_shift(self) -> Tensor | None:
        """How far [C] an input moves from its token to the one before; None: not at all."""
        return None

    @classmethod
    def forward_grouped(cls, experts: Sequence[Self], h: Tensor, context: ExpertContext, groups: RowGroups) -> Tensor:
        """Outputs [rows,C] of rows that belong to these experts, a group each; zero where a row belongs to none.

        This form is right for every kind and slow: every expert runs on every row.
        """
        return groups.keep(groups.select([expert(h, context) for expert in experts]))

    @property
    def num_params(self) -> int:
        """Stored parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    @abstractmethod
    def flops_per_token(self) -> int:
        """Forward floating-point operations for one token; a multiply-add counts two."""
