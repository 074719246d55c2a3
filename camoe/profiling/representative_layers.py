"""A shallow model that has every kind of layer of a deep one, so that few layers tell what many need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from camoe.config import RunConfig

OF_EACH_KIND = 1


@dataclass(frozen=True)
class RepresentativeLayers:
    """The layers of a shallow model, by kind (True: attention), and how often each kind is missing from it.

    The first layer stands for itself alone; another of its kind stands for the rest, and the last is of the kind of the
    last.
    """

    kinds: tuple[bool, ...]
    missing: Counter[bool]

    @classmethod
    def of(cls, kinds: Sequence[bool]) -> RepresentativeLayers:
        """From the kinds of all layers of the deep model, first to last."""
        later, last = kinds[1:], kinds[-1]
        chosen = [kinds[0]]
        for kind in (not last, last):
            chosen += [kind] * min(OF_EACH_KIND, sum(entry == kind for entry in later))
        return cls(tuple(chosen), Counter(kinds) - Counter(chosen))

    @classmethod
    def of_run(cls, config: RunConfig) -> RepresentativeLayers:
        """From the layer schedule of a run."""
        attention = config.model.attention_layers
        return cls.of([layer in attention for layer in range(config.model.n_layer)])

    def shallow(self, config: RunConfig) -> RunConfig:
        """The run with these layers only."""
        indices = [index for index, attention in enumerate(self.kinds) if attention]
        layers = {"layers": "explicit", "attention_indices": indices} if indices else {"layers": "all_rwkv"}
        return replace(config, model=replace(config.model, n_layer=len(self.kinds), **layers))

    def example(self, kind: bool) -> int:
        """The last of the shallow layers of a kind."""
        return max(index for index, entry in enumerate(self.kinds) if entry == kind)
