"""Named sources drawn into one by their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from camoe.data.interleaving import interleave
from camoe.data.source import Source, Split


class Mixture:
    """Documents of several sources; shares of UTF-8 bytes follow the weights in each part.

    A part ends where the source whose turn it is has no document left, so that the shares hold to its end.
    """

    def __init__(self, sources: Mapping[str, Source], weights: Mapping[str, float], seed: int) -> None:
        self.name = "+".join(sources)
        total = sum(weights.values())
        self.description = ", ".join(
            f"{weights[name] / total:.0%} {source.description}" for name, source in sources.items()
        )
        self._sources, self._weights, self._seed = sources, weights, seed

    def identity(self) -> list[list[str | int]]:
        weights: list[list[str | int]] = [[name, repr(weight)] for name, weight in self._weights.items()]
        facts = [[name, *facts] for name, source in self._sources.items() for facts in source.identity()]
        return [["seed", self._seed], *weights, *facts]

    def fetch(self, progress: Callable[[str, int], None]) -> None:
        for source in self._sources.values():
            source.fetch(progress)

    def labelled(self, split: Split, domain_field: str | None = None) -> Iterator[tuple[str, str]]:
        """(domain, text): the name of the source, or with a field what each source calls it."""
        streams = {name: source.labelled(split, domain_field) for name, source in self._sources.items()}
        drawn = interleave(streams, self._weights, _size, self._seed)
        return ((name if domain_field is None else domain, text) for name, (domain, text) in drawn)


def _size(item: tuple[str, str]) -> int:
    """UTF-8 bytes of a labelled text."""
    return len(item[1].encode("utf-8", "surrogatepass"))
